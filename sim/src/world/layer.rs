//! Something between nodes and their world, that may change what passes. The checker plants bugs with it that the engine
//! does not have, to see whether they are found.

use std::fmt;

use shoal_core::event::{Input, Output};

/// Sees all that goes into nodes and comes out of them.
pub trait Layer: fmt::Debug + Send {
    /// What a node gets in the place of an input; nothing where it is lost.
    fn input(&mut self, node: u32, input: Input) -> Option<Input>;

    /// What the world gets in the place of a node's output; nothing where it is lost.
    fn output(&mut self, node: u32, output: Output) -> Option<Output>;
}

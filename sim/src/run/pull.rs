//! A node's pull, as a container runtime makes it: what the name stands for, then the manifest, then the configuration and
//! the layers, three blobs at once. A single blob is asked for by its digest.

use shoal_wire::{
    ids::QueryId,
    name::{ContentKind, Name, Reference},
};

use crate::{
    scenario::Content,
    world::{BlobId, World},
};

/// containerd's `max_concurrent_downloads`.
const BLOBS_AT_ONCE: usize = 3;
/// Bytes of a manifest and of a configuration, and what each layer adds to either.
const MANIFEST_BYTES: (u64, u64) = (400, 170);
const CONFIG_BYTES: (u64, u64) = (250, 80);

/// What all nodes pull.
#[derive(Clone, Debug)]
pub(super) struct Goods {
    /// Manifest and configuration, of an image.
    pub(super) head: Option<(BlobId, BlobId)>,
    pub(super) layers: Vec<BlobId>,
    /// Bytes of all layers.
    pub(super) bytes: u64,
    /// The largest layer.
    pub(super) largest: BlobId,
}

impl Goods {
    /// Puts the content into the upstream of a world.
    pub(super) fn stock(world: &mut World, content: &Content) -> Self {
        let (head, sizes) = match content {
            Content::Blob(size) => (None, std::slice::from_ref(size)),
            Content::Image(sizes) => {
                let layers = sizes.len() as u64;
                let mut small = |(base, each): (u64, u64)| world.add_blob(base + each * layers, false);
                (Some((small(MANIFEST_BYTES), small(CONFIG_BYTES))), sizes.as_slice())
            }
        };
        let layers: Vec<BlobId> = sizes.iter().map(|size| world.add_blob(*size, true)).collect();
        let largest = sizes.iter().zip(&layers).max_by_key(|(size, layer)| (**size, std::cmp::Reverse(layer.0)));
        let largest = largest.map_or(BlobId(0), |(_, layer)| *layer);
        Self { head, layers, bytes: content.bytes(), largest }
    }

    /// All blobs.
    pub(super) fn all(&self) -> impl Iterator<Item = BlobId> + '_ {
        self.head.iter().flat_map(|(manifest, config)| [*manifest, *config]).chain(self.layers.iter().copied())
    }

    /// What a client asks for first.
    fn name(&self, world: &World) -> Name {
        let (kind, reference) = match self.head {
            Some(_) => (ContentKind::Manifest, Reference::Tag("v1".into())),
            None => (ContentKind::Blob, Reference::Digest(world.digest(self.largest))),
        };
        Name { registry: "registry".into(), repository: "simulator/image".into(), kind, reference }
    }
}

/// Where one pull is.
#[derive(Clone, Debug, Default)]
pub(super) struct Pull {
    /// The first of the blobs after the manifest that has not begun: 0 is the configuration.
    next: usize,
    /// Blobs that are being read.
    open: Vec<BlobId>,
}

/// What comes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come.
    Open,
    /// Everything is there.
    Done,
}

impl Pull {
    /// Asks what the name stands for.
    pub(super) fn begin(world: &mut World, goods: &Goods, node: u32) -> Self {
        let name = goods.name(world);
        world.resolve(node, QueryId(1), name);
        Self::default()
    }

    /// The name is known: its content is asked for.
    pub(super) fn answered(&mut self, world: &mut World, goods: &Goods, node: u32) {
        let first = goods.head.map_or(goods.largest, |(manifest, _)| manifest);
        self.open.push(first);
        world.want(node, first);
    }

    /// A blob is there.
    pub(super) fn finished(&mut self, world: &mut World, goods: &Goods, node: u32, blob: BlobId) -> Progress {
        let before = self.open.len();
        self.open.retain(|open| *open != blob);
        if self.open.len() == before {
            return Progress::Open;
        }
        if let Some((_, config)) = goods.head {
            while self.open.len() < BLOBS_AT_ONCE && self.next <= goods.layers.len() {
                let next = if self.next == 0 { config } else { goods.layers[self.next - 1] };
                self.next += 1;
                self.open.push(next);
                world.want(node, next);
            }
        }
        if self.open.is_empty() { Progress::Done } else { Progress::Open }
    }

    /// Whether the pull reads this blob.
    pub(super) fn reads(&self, blob: BlobId) -> bool {
        self.open.contains(&blob)
    }
}

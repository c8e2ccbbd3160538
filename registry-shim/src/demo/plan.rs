//! What a run of the demo will do, checked before anything is started.

use std::path::Path;

use shoal_runtime::bound::Distribution;
use thiserror::Error;

use super::{
    DemoArgs,
    format::Bytes,
    image::{LAYER_BYTES_MAX, LAYER_BYTES_MIN},
};

/// Most nodes: beyond that one machine's processors, not the links, decide the result.
const NODES_MAX: u32 = 64;
/// Most layers: the limit that common image builders have.
const LAYERS_MAX: u32 = 127;
/// Slowest and fastest link, in bytes per second: 1 Mbit/s and 100 Gbit/s.
const LINK_RANGE: std::ops::RangeInclusive<u64> = 125_000..=12_500_000_000;
/// Longest run by the arithmetic of the links, in seconds.
const RUN_S_MAX: f64 = 3600.0;
/// Disk space beyond the copies of the image: logs, keys, journals.
const DISK_RESERVE_BYTES: u64 = 64 << 20;

/// Shares of the first layers, in percent; the others share [`TAIL_PERCENT`] equally. With three blobs fetched at a
/// time the big ones fill the link and the small ones follow, as in most real images.
const HEAD_PERCENT: [u64; 3] = [50, 25, 15];
const TAIL_PERCENT: u64 = 10;
/// Layers are tar archives, which have whole blocks of this size.
const BLOCK: u64 = 512;

/// A checked plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Number of nodes.
    pub(crate) nodes: u32,
    /// Size of each layer in bytes.
    pub(crate) layers: Vec<u64>,
    /// Rate of the upstream and of each node, up and down, in payload bytes per second.
    pub(crate) link_bytes_per_s: u64,
    /// Decides the bytes of the image.
    pub(crate) seed: u64,
    /// Whether the single-source case is measured too.
    pub(crate) single_source: bool,
}

/// Why a plan is refused.
#[derive(Debug, Error)]
pub(crate) enum PlanError {
    /// The number of nodes.
    #[error("--nodes {0}: choose between 1 and {NODES_MAX}; more nodes than that measure this machine, not the swarm")]
    Nodes(u32),
    /// The number of layers.
    #[error("--layers {0}: choose between 1 and {LAYERS_MAX}")]
    Layers(u32),
    /// The rate of the links.
    #[error("--link: {0} bytes per second is out of range; choose between 1mbit and 100gbit")]
    Link(u64),
    /// A layer would not hold a tar archive.
    #[error(
        "--size {size}: too small for {layers} layers; each needs {LAYER_BYTES_MIN} bytes, the smallest would have {smallest}"
    )]
    Small {
        /// The size that was given.
        size: u64,
        /// The number of layers.
        layers: u32,
        /// Bytes of the smallest of them.
        smallest: u64,
    },
    /// A layer would not fit a tar header.
    #[error("--size: a layer would have {}, the most is {}; choose a smaller size or more layers", Bytes(*.0), Bytes(LAYER_BYTES_MAX))]
    Large(u64),
    /// It would take too long.
    #[error(
        "this would take about {0:.0} s, more than an hour; choose a smaller --size, fewer --nodes or a faster --link, \
         or leave out the slow part with --skip-single-source"
    )]
    Long(f64),
    /// There is no place for the nodes' files.
    #[error("cannot use the directory for temporary files {directory}: {source}. Set TMPDIR to one that exists")]
    Directory {
        /// The directory.
        directory: String,
        /// What the system says.
        source: rustix::io::Errno,
    },
    /// The nodes' copies do not fit the disk.
    #[error(
        "{directory} has {} free, but {nodes} nodes store {} in all; choose a smaller --size or fewer --nodes, \
         or set TMPDIR to a larger disk", Bytes(*.free), Bytes(*.needed)
    )]
    Disk {
        /// Where the nodes would store.
        directory: String,
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
        /// Number of nodes.
        nodes: u32,
    },
}

impl Plan {
    /// Checks the arguments.
    pub(crate) fn check(args: &DemoArgs) -> Result<Self, PlanError> {
        if !(1..=NODES_MAX).contains(&args.nodes) {
            return Err(PlanError::Nodes(args.nodes));
        }
        if !(1..=LAYERS_MAX).contains(&args.layers) {
            return Err(PlanError::Layers(args.layers));
        }
        if !LINK_RANGE.contains(&args.link.0) {
            return Err(PlanError::Link(args.link.0));
        }
        let plan = Self {
            nodes: args.nodes,
            layers: layer_sizes(args.size.0, args.layers),
            link_bytes_per_s: args.link.0,
            seed: args.seed,
            single_source: !args.skip_single_source,
        };
        plan.check_layers(args.size.0)?;
        plan.check_time()?;
        Ok(plan)
    }

    fn check_layers(&self, size: u64) -> Result<(), PlanError> {
        let smallest = self.layers.iter().copied().min().unwrap_or(0);
        if smallest < LAYER_BYTES_MIN {
            let layers = u32::try_from(self.layers.len()).unwrap_or(LAYERS_MAX);
            return Err(PlanError::Small { size, layers, smallest });
        }
        match self.layers.iter().copied().max() {
            Some(largest) if largest > LAYER_BYTES_MAX => Err(PlanError::Large(largest)),
            _ => Ok(()),
        }
    }

    fn check_time(&self) -> Result<(), PlanError> {
        let links = self.distribution(self.layers.iter().sum());
        let single_source_s = if self.single_source { links.single_source_s() } else { 0.0 };
        let seconds = links.fluid_s() + single_source_s;
        if seconds > RUN_S_MAX { Err(PlanError::Long(seconds)) } else { Ok(()) }
    }

    /// Checks that the file system of `directory` holds a copy of the image for each node.
    pub(crate) fn check_disk(&self, directory: &Path) -> Result<(), PlanError> {
        let disk = rustix::fs::statvfs(directory)
            .map_err(|source| PlanError::Directory { directory: directory.display().to_string(), source })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let copies = self.layers.iter().sum::<u64>().saturating_mul(u64::from(self.nodes));
        let needed = copies.saturating_add(DISK_RESERVE_BYTES);
        if free < needed {
            let directory = directory.display().to_string();
            return Err(PlanError::Disk { directory, free, needed, nodes: self.nodes });
        }
        Ok(())
    }

    /// What bounds the distribution of `bytes` in this plan.
    pub(crate) fn distribution(&self, bytes: u64) -> Distribution {
        let link = self.link_bytes_per_s as f64;
        Distribution {
            bytes: bytes as f64,
            nodes: self.nodes,
            upstream_bytes_per_s: link,
            upload_bytes_per_s: link,
            download_bytes_per_s: link,
        }
    }
}

/// Sizes of `layers` layers of `size` bytes in all, largest first, each of whole blocks. What is left over of the last
/// block is dropped.
fn layer_sizes(size: u64, layers: u32) -> Vec<u64> {
    let layers = layers as usize;
    let tail_layers = layers.saturating_sub(HEAD_PERCENT.len()) as u64;
    // In units of percent x the number of tail layers, so that all shares are whole numbers.
    let scale = tail_layers.max(1);
    let head = HEAD_PERCENT.iter().take(layers).map(|percent| percent * scale);
    let shares: Vec<u64> = head.chain((0..tail_layers).map(|_| TAIL_PERCENT)).collect();
    let total: u64 = shares.iter().sum();
    let blocks = size / BLOCK;
    let mut sizes: Vec<u64> = shares
        .iter()
        .map(|share| u64::try_from(u128::from(blocks) * u128::from(*share) / u128::from(total)).unwrap_or(u64::MAX))
        .collect();
    sizes[0] += blocks - sizes.iter().sum::<u64>();
    sizes.iter().map(|blocks| blocks * BLOCK).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_runtime::units::{Rate, Size};

    fn arguments() -> DemoArgs {
        DemoArgs {
            nodes: 8,
            size: Size(128 << 20),
            link: Rate(25_000_000),
            layers: 4,
            seed: 1,
            json: false,
            skip_single_source: false,
            tethered: Vec::new(),
        }
    }

    fn refusal(args: &DemoArgs) -> String {
        Plan::check(args).unwrap_err().to_string()
    }

    #[test]
    fn layers_descend_and_add_up() {
        assert_eq!(layer_sizes(1000 * 512, 4), [500, 250, 150, 100].map(|blocks| blocks * 512));
        for layers in 1..=LAYERS_MAX {
            let sizes = layer_sizes(128 << 20, layers);
            assert_eq!(sizes.len(), layers as usize);
            assert_eq!(sizes.iter().sum::<u64>(), 128 << 20);
            assert!(sizes.is_sorted_by(|left, right| left >= right), "{sizes:?}");
            assert!(sizes.iter().all(|size| size % BLOCK == 0));
        }
    }

    #[test]
    fn the_defaults_are_planned_as_given() {
        let plan = Plan::check(&arguments()).unwrap();
        assert_eq!((plan.nodes, plan.layers.len(), plan.single_source), (8, 4, true));
        let links = plan.distribution(128 << 20);
        assert!(links.single_source_s() + links.fluid_s() < 60.0, "the defaults leave room for slow machines");
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_limit() {
        assert!(refusal(&DemoArgs { nodes: 0, ..arguments() }).contains("between 1 and 64"));
        assert!(refusal(&DemoArgs { nodes: 65, ..arguments() }).contains("between 1 and 64"));
        assert!(refusal(&DemoArgs { layers: 0, ..arguments() }).contains("between 1 and 127"));
        assert!(refusal(&DemoArgs { link: Rate(1), ..arguments() }).contains("1mbit"));
        assert!(refusal(&DemoArgs { link: Rate(u64::MAX), ..arguments() }).contains("100gbit"));
        assert!(refusal(&DemoArgs { size: Size(4096), ..arguments() }).contains("too small for 4 layers"));
        assert!(refusal(&DemoArgs { size: Size(1 << 60), ..arguments() }).contains("a smaller size"));
        assert!(
            refusal(&DemoArgs { size: Size(8 << 30), link: Rate(1_000_000), ..arguments() })
                .contains("--skip-single-source")
        );
    }

    #[test]
    fn a_disk_that_is_too_small_is_named() {
        let plan = Plan { layers: vec![1 << 62], ..Plan::check(&arguments()).unwrap() };
        let refusal = plan.check_disk(Path::new("/")).unwrap_err().to_string();
        assert!(refusal.contains("TMPDIR"), "{refusal}");
        let refusal = plan.check_disk(Path::new("/no/such/directory")).unwrap_err().to_string();
        assert!(refusal.contains("/no/such/directory") && refusal.contains("TMPDIR"), "{refusal}");
    }
}

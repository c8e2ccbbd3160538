//! Many blobs at once: an image of twenty layers.

use std::time::Duration;

use shoal_core::config::CoreConfig;

use crate::{
    pull::{LINK, setting},
    world::World,
};

/// Layers of an image in KiB, most of them small.
const LAYERS: [u64; 20] =
    [32, 64, 4, 120, 500, 2_000, 40, 12, 8_000, 300, 1_500, 30_000, 90, 700, 20, 60_000, 250, 4_000, 16, 25_000];

/// Eight nodes pull the image, three layers at a time: time over the bound, and upstream copies.
pub(crate) fn image(change: fn(&mut CoreConfig), seed: u64) -> (f64, f64) {
    let mut setting = setting(8);
    change(&mut setting.config);
    let mut world = World::new(setting, seed);
    world.form();
    let layers: Vec<_> = LAYERS.iter().map(|kib| world.blob(kib * 1024)).collect();
    let start = world.now;
    let mut next = [0; 8];
    let all = |world: &World| world.members.iter().map(|member| member.finished.len()).sum::<usize>();
    while all(&world) < 8 * layers.len() {
        for (node, next) in next.iter_mut().enumerate() {
            while *next < layers.len() && *next - world.members[node].finished.len() < 3 {
                world.want(node, layers[*next]);
                *next += 1;
            }
        }
        let before = all(&world);
        let more = world.run_until(Duration::from_secs(60), |world| all(world) > before);
        assert!(more, "seed {seed}: nothing happens after {before} layers");
    }
    let bytes = (LAYERS.iter().sum::<u64>() * 1024) as f64;
    (world.now.since(start).as_secs_f64() / (bytes / LINK), world.upstream_bytes as f64 / bytes)
}

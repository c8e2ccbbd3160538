mod clusters;
mod oracle;

use super::*;

fn equal_links(nodes: u32) -> Distribution {
    Distribution {
        bytes: 1000.0,
        nodes,
        upstream_bytes_per_s: 100.0,
        upload_bytes_per_s: 100.0,
        download_bytes_per_s: 100.0,
    }
}

fn assert_close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

#[test]
fn with_equal_links_one_copy_through_one_link_is_the_bound_for_any_number_of_nodes() {
    for nodes in [1, 2, 8, 1000] {
        assert_close(equal_links(nodes).fluid_s(), 10.0);
    }
}

#[test]
fn the_slowest_of_upstream_download_and_all_uplinks_decides() {
    let slow_upstream = Distribution { upstream_bytes_per_s: 10.0, ..equal_links(4) };
    assert_close(slow_upstream.fluid_s(), 100.0);
    let slow_download = Distribution { download_bytes_per_s: 20.0, ..equal_links(4) };
    assert_close(slow_download.fluid_s(), 50.0);
    let slow_uplinks = Distribution { upload_bytes_per_s: 25.0, ..equal_links(12) };
    assert_close(slow_uplinks.fluid_s(), 12.0 * 1000.0 / (100.0 + 12.0 * 25.0));
}

#[test]
fn pieces_add_one_transmission_for_each_doubling() {
    // 8 nodes: after the last piece left the upstream, three more rounds bring it to all.
    assert_close(equal_links(8).granular_s(100), 10.3);
    assert_close(equal_links(9).granular_s(100), 10.3);
    assert_close(equal_links(1).granular_s(100), 10.0);
    assert_close(equal_links(8).granular_s(0), 40.0);
}

#[test]
fn a_single_source_pays_for_every_copy() {
    assert_close(equal_links(8).single_source_s(), 80.0);
    let fast_upstream = Distribution { upstream_bytes_per_s: 1e6, ..equal_links(8) };
    assert_close(fast_upstream.single_source_s(), 10.0);
}

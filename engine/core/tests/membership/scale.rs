//! A thousand members: what the example `membership_scale` measures with ten thousand.

use std::time::Duration;

use super::{
    crowd::{Crowd, Weather},
    network::seeds,
};

const MEMBERS: usize = 1000;

/// One datagram in a hundred is lost, and one node in a hundred stalls for 2 s twice a minute.
const WEATHER: Weather =
    Weather { loss: 0.01, staller_each: 100, stall: Duration::from_secs(2), between_stalls: Duration::from_secs(30) };

#[test]
fn a_thousand_in_bad_weather_believe_nobody_dead_and_notice_a_crash_within_30_s() {
    for seed in seeds(1) {
        let mut crowd = Crowd::acquainted(seed, MEMBERS, WEATHER);
        crowd.run_for(Duration::from_mins(3));
        assert!(crowd.tally.suspicions > 0, "the stalls must have been felt");
        assert_eq!(crowd.tally.false_deaths, 0);
        crowd.crash(7);
        crowd.run_for(Duration::from_secs(30));
        let known = crowd.tally.crashes_known.len();
        assert!(known >= MEMBERS * 99 / 100, "known to {known}");
        assert_eq!(crowd.tally.false_deaths, 0);
    }
}

#[test]
fn a_thousand_that_join_within_a_minute_agree_a_minute_later() {
    for seed in seeds(1) {
        let mut crowd = Crowd::new(seed, MEMBERS, WEATHER);
        for node in 0..MEMBERS {
            crowd.join(node, &[0, 1, 2]);
            crowd.run_for(Duration::from_mins(1) / 1000);
        }
        let took = crowd.run_until_all_agree(Duration::from_mins(1));
        assert!(took.is_some(), "they do not agree");
        assert_eq!(crowd.tally.false_deaths, 0);
    }
}

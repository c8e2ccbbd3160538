//! The scenarios that come with Shoal.

macro_rules! scenarios {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),+]
    };
}

const SHIPPED: &[(&str, &str)] = scenarios![
    "cold-start",
    "image-1",
    "image-4",
    "image-20",
    "rolling",
    "staggered",
    "zones",
    "stragglers",
    "asymmetric",
    "kill",
    "churn",
    "upstream-dies",
    "corrupt",
    "warm-half",
    "latency-20ms",
];

/// Names and texts.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    SHIPPED
}

/// The text of a shipped scenario.
pub fn by_name(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn each_is_right_and_has_the_name_of_its_file() {
        for (name, text) in shipped() {
            let scenario = Scenario::parse(text, name).unwrap();
            assert_eq!(scenario.name, *name);
            assert_eq!(by_name(name), Some(*text));
            assert!(scenario.bound().makespan_s() > 1.0, "{name}: long enough for the links to decide");
            assert!(scenario.bound().makespan_s() < 120.0, "{name}: short enough to be repeated");
        }
        assert_eq!(by_name("no-such"), None);
    }
}

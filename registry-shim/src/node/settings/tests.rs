use clap::Parser;

use super::*;

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    node: NodeArgs,
}

fn args(flags: &[&str]) -> NodeArgs {
    Command::try_parse_from(std::iter::once(&"node").chain(flags)).unwrap().node
}

/// Settings by flags, an environment for what clap does not read, and the text of a file.
fn load(flags: &[&str], environment: &[(&str, &str)], file: &str) -> Result<Settings, SettingsError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shoal.toml");
    std::fs::write(&path, file).unwrap();
    let mut args = args(flags);
    args.config = Some(path);
    let lookup = |name: &str| {
        let found = environment.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| OsString::from(value)).or_else(|| (name == "HOME").then(|| "/home/u".into()))
    };
    Settings::load(args, lookup, false)
}

#[test]
fn nothing_at_all_is_a_cluster_of_one_on_loopback() {
    let settings = load(&[], &[], "").unwrap();
    assert_eq!(settings.listen, "127.0.0.1:5050".parse().unwrap());
    assert_eq!(settings.swarm_listen, "127.0.0.1:5001".parse().unwrap());
    assert_eq!(settings.secret, SecretSetting::DataDir);
    assert_eq!(settings.data_dir, Path::new("/home/u/.local/share/shoal"));
    assert_eq!((settings.join.len(), settings.upload_limit, settings.registries), (0, None, None));
}

#[test]
fn the_data_directory_follows_the_users_environment() {
    let with = |variables: &[(&str, &str)], is_root| {
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Settings::load(NodeArgs::default(), lookup, is_root).map(|settings| settings.data_dir)
    };
    assert_eq!(with(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], true).unwrap(), Path::new("/x/shoal"));
    assert_eq!(with(&[("HOME", "/root")], true).unwrap(), Path::new("/var/lib/shoal"));
    assert_eq!(with(&[("HOME", "/h")], false).unwrap(), Path::new("/h/.local/share/shoal"));
    assert!(matches!(with(&[("XDG_DATA_HOME", "relative")], false), Err(SettingsError::NoDataDir)));
}

#[test]
fn every_setting_can_stand_in_the_file() {
    let file = format!(
        r#"
data_dir = "/data"
listen = "0.0.0.0:80"
swarm_listen = "[::]:7000"
advertise = "10.0.0.5:7000"
secret = "{SECRET}"
join = ["a:1", "b:2"]
zone = "rack-1"
upload_limit = "200mbit"
download_limit = "25MB"
link = "1gbit"
registries = "/etc/registries.yaml"
spool_limit = "1GiB"
log = "debug"
log_format = "json"
json = true
"#
    );
    let settings = load(&[], &[], &file).unwrap();
    assert_eq!(
        settings,
        Settings {
            data_dir: "/data".into(),
            listen: "0.0.0.0:80".parse().unwrap(),
            swarm_listen: "[::]:7000".parse().unwrap(),
            advertise: Some("10.0.0.5:7000".parse().unwrap()),
            secret: SecretSetting::Given(parse_secret(SECRET).unwrap()),
            join: vec!["a:1".to_owned(), "b:2".to_owned()],
            zone: "rack-1".to_owned(),
            upload_limit: Some(Rate(25_000_000)),
            download_limit: Some(Rate(25_000_000)),
            link: Some(Rate(125_000_000)),
            registries: Some("/etc/registries.yaml".into()),
            spool_limit: Size(1 << 30),
            log: "debug".to_owned(),
            log_format: LogFormat::Json,
            json: true,
        }
    );
}

#[test]
fn flags_come_before_the_file() {
    let file = "listen = '127.0.0.1:1'\nzone = 'file'\njoin = 'f:1'\njson = true\nupload_limit = '1MB'\n";
    let flags =
        ["--listen", "127.0.0.1:2", "--join", "a:1,b:2", "--join", "c:3", "--json=false", "--upload-limit", "2MB"];
    let settings = load(&flags, &[], file).unwrap();
    assert_eq!(settings.listen.port(), 2);
    assert_eq!(settings.zone, "file");
    assert_eq!(settings.join, ["a:1", "b:2", "c:3"]);
    assert!(!settings.json);
    assert_eq!(settings.upload_limit, Some(Rate(2_000_000)));
    assert_eq!(load(&[], &[], file).unwrap().join, ["f:1"]);
}

#[test]
fn the_two_forms_of_the_secret_are_one_setting() {
    let in_file = "secret_file = '/from/file'";
    let in_environment = [("SHOAL_SECRET", SECRET)];
    let given = SecretSetting::Given(parse_secret(SECRET).unwrap());
    assert_eq!(load(&[], &[], in_file).unwrap().secret, SecretSetting::File("/from/file".into()));
    assert_eq!(load(&[], &in_environment, in_file).unwrap().secret, given);
    let flag = ["--secret-file", "/from/flag"];
    assert_eq!(load(&flag, &in_environment, in_file).unwrap().secret, SecretSetting::File("/from/flag".into()));

    let both = ["--secret", SECRET, "--secret-file", "/x"];
    assert!(matches!(load(&both, &[], ""), Err(SettingsError::TwoSecrets("as flags"))));
    assert!(matches!(load(&["--secret", "abc"], &[], ""), Err(SettingsError::Secret(_))));
}

#[test]
fn errors_of_the_file_name_its_line() {
    for (file, line, expected) in [
        ("listen = '127.0.0.1:1'\nlisen = 'x'\n", 2, "lisen"),
        ("\n\nlisten = 'nonsense'\n", 3, "socket address"),
        ("upload_limit = '5 apples'\n", 1, "200mbit"),
        ("zone = 'a'\njoin = 5\n", 2, "list of host:port"),
        ("log_format = 'xml'\n", 1, "json"),
        ("zone = 'a'\nzone = 'b'\n", 2, "duplicate"),
        ("zone = \n", 1, ""),
    ] {
        let error = load(&[], &[], file).unwrap_err().to_string();
        assert!(error.contains(&format!("shoal.toml:{line}: ")), "{file}\n{error}");
        assert!(error.contains(expected), "{file}\n{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn addresses_that_others_cannot_reach_are_refused() {
    assert!(matches!(load(&["--swarm-listen", "0.0.0.0:5001"], &[], ""), Err(SettingsError::Wildcard(_))));
    let told = ["--swarm-listen", "0.0.0.0:5001", "--advertise", "10.0.0.5:5001"];
    assert!(load(&told, &[], "").is_ok());
    for wrong in ["0.0.0.0:5001", "10.0.0.5:0"] {
        assert!(matches!(load(&["--advertise", wrong], &[], ""), Err(SettingsError::Advertise(_))));
    }
}

#[test]
fn seeds_are_hosts_with_ports() {
    for wrong in ["host", "host:", ":5001", "host:0", "host:99999"] {
        assert!(matches!(load(&["--join", wrong], &[], ""), Err(SettingsError::Seed(_))), "{wrong}");
    }
    for good in ["host:5001", "10.0.0.5:5001", "[::1]:5001"] {
        assert_eq!(load(&["--join", good], &[], "").unwrap().join, [good]);
    }
}

#[test]
fn a_zone_has_a_bounded_name() {
    assert!(load(&["--zone", &"z".repeat(ZONE_BYTES_MAX)], &[], "").is_ok());
    assert!(matches!(load(&["--zone", &"z".repeat(ZONE_BYTES_MAX + 1)], &[], ""), Err(SettingsError::Zone)));
}

#[test]
fn flags_are_checked_by_themselves() {
    for wrong in [["--listen", "nonsense"], ["--upload-limit", "fast"], ["--spool-limit", "much"], ["--no-such", "x"]] {
        assert!(Command::try_parse_from(["node", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
    }
}

use super::*;

fn parse(text: &str) -> Registries {
    Registries::parse("registries.yaml", text).unwrap()
}

fn error(text: &str) -> String {
    Registries::parse("registries.yaml", text).unwrap_err().to_string()
}

fn urls(registries: &Registries, registry: &str, repository: &str) -> Vec<String> {
    registries.endpoints(registry, repository).iter().map(|endpoint| endpoint.url("x").unwrap().to_string()).collect()
}

#[test]
fn without_a_file_every_registry_is_mirrored_from_itself() {
    let registries = Registries::default();
    assert!(registries.mirrors("anything.example:5000"));
    assert_eq!(urls(&registries, "ghcr.io", "a/b"), ["https://ghcr.io/v2/a/b/x"]);
    assert_eq!(urls(&registries, "docker.io", "a"), ["https://registry-1.docker.io/v2/a/x"]);
    assert_eq!(urls(&registries, "registry-1.docker.io", "a"), ["https://registry-1.docker.io/v2/a/x"]);
}

#[test]
fn registries_on_this_machine_are_spoken_to_without_tls_but_for_port_443() {
    let registries = Registries::default();
    for host in ["localhost:5000", "127.0.0.1:5000", "[::1]:5000", "localhost"] {
        assert_eq!(urls(&registries, host, "a"), [format!("http://{host}/v2/a/x")]);
    }
    assert_eq!(urls(&registries, "localhost:443", "a"), ["https://localhost/v2/a/x"]);
    assert_eq!(urls(&registries, "192.168.1.1:5000", "a"), ["https://192.168.1.1:5000/v2/a/x"]);
}

#[test]
fn only_listed_registries_are_mirrored() {
    let registries = parse("mirrors:\n  docker.io:\n  ghcr.io:\n    endpoint: []\n");
    assert!(registries.mirrors("docker.io"));
    assert!(registries.mirrors("registry-1.docker.io"));
    assert!(registries.mirrors("ghcr.io"));
    assert!(!registries.mirrors("quay.io"));
    for nothing in ["", "mirrors:\n", "# nothing\n", "configs:\n  ghcr.io: {}\n", "{}"] {
        assert!(!parse(nothing).mirrors("docker.io"), "{nothing:?}");
    }
}

#[test]
fn the_wildcard_covers_registries_without_an_entry_and_is_not_merged_into_others() {
    let registries = parse(
        "mirrors:\n  '*':\n    endpoint: ['https://all.example']\n  ghcr.io:\n    endpoint: ['https://ghcr.example']\n  quay.io:\n",
    );
    assert!(registries.mirrors("anything.example"));
    assert_eq!(urls(&registries, "r.example", "a"), ["https://all.example/v2/a/x", "https://r.example/v2/a/x"]);
    assert_eq!(urls(&registries, "ghcr.io", "a"), ["https://ghcr.example/v2/a/x", "https://ghcr.io/v2/a/x"]);
    assert_eq!(urls(&registries, "quay.io", "a"), ["https://quay.io/v2/a/x"]);
}

#[test]
fn endpoints_keep_their_order_and_are_normalised() {
    let registries = parse(
        r"
mirrors:
  docker.io:
    endpoint:
      - mirror.example
      - http://plain.example:5000/
      - https://mirror.example/v2/
      - https://harbor.example/v2/proxy
      - localhost:5000
      - https://docker.io
    future_key: true
future: {}
",
    );
    assert_eq!(
        urls(&registries, "docker.io", "library/alpine"),
        [
            "https://mirror.example/v2/library/alpine/x",
            "http://plain.example:5000/v2/library/alpine/x",
            "https://harbor.example/v2/proxy/library/alpine/x",
            "http://localhost:5000/v2/library/alpine/x",
            "https://registry-1.docker.io/v2/library/alpine/x",
        ]
    );
}

#[test]
fn rewrites_change_the_repository_for_endpoints_only() {
    let registries = parse(
        r#"
mirrors:
  docker.io:
    endpoint: [https://mirror.example]
    rewrite:
      "^nothing/(.*)": "never/$1"
      "^library/(.*)": "hub/$1"
      "(.*)": "late/$1"
"#,
    );
    assert_eq!(
        urls(&registries, "docker.io", "library/alpine"),
        ["https://mirror.example/v2/hub/alpine/x", "https://registry-1.docker.io/v2/library/alpine/x"]
    );
}

#[test]
fn settings_are_found_by_the_endpoints_host() {
    let registries = parse(
        r"
configs:
  docker.io: {auth: {username: hub, password: p}}
  ghcr.io:443: {auth: {auth: dTpzZWNyZXQ=}}
  mirror.example:5000: {auth: {identity_token: t}}
  '*': {auth: {username: any}}
",
    );
    let credentials = |url: &str| registries.config(&Url::parse(url).unwrap()).unwrap().credentials.clone().unwrap();
    let password = |username: &str, password: &str| Credentials::Password {
        username: username.to_owned(),
        password: password.to_owned(),
    };
    assert_eq!(credentials("https://registry-1.docker.io/v2"), password("hub", "p"));
    assert_eq!(credentials("https://ghcr.io/v2"), password("u", "secret"));
    assert_eq!(credentials("http://mirror.example:5000/v2"), Credentials::IdentityToken("t".to_owned()));
    assert_eq!(credentials("https://mirror.example/v2"), password("any", ""));
}

#[test]
fn errors_name_the_file_the_line_and_what_is_expected() {
    let cases = [
        ("mirrors:\n  docker.io:\n    endpoint: https://one.example\n", 3, "sequence"),
        (
            "mirrors:\n  docker.io:\n    endpoint:\n      - https://ok.example\n      - ftp://no.example\n",
            5,
            "neither http nor https",
        ),
        ("mirrors:\n  docker.io:\n    endpoint: ['https://u:p@no.example']\n", 3, "configs.<host>.auth"),
        ("mirrors:\n  docker.io:\n    rewrite:\n      '(': 'x'\n", 4, "regular expression"),
        ("mirrors:\n  ok.example:\n  not/a/host:\n    endpoint: []\n", 3, "host:port"),
        ("mirrors: [docker.io]\n", 1, "map"),
        ("configs:\n  ghcr.io:\n    auth:\n      auth: '%%%'\n", 4, "base64"),
        ("configs:\n  ghcr.io:\n    auth:\n      password: p\n", 4, "username"),
        ("configs:\n  ghcr.io:\n    tls:\n      ca_file: /nonexistent/ca.pem\n", 4, "/nonexistent/ca.pem"),
        ("configs:\n  ghcr.io:\n    tls:\n      cert_file: /nonexistent\n", 4, "key_file"),
        ("configs:\n  ghcr.io:\n    tls:\n      insecure_skip_verify: maybe\n", 4, "bool"),
        ("mirrors:\n  a.example: {}\n  a.example: {}\n", 3, "a.example"),
        ("mirrors:\n\tdocker.io: {}\n", 2, ""),
    ];
    for (text, line, expected) in cases {
        let message = error(text);
        assert!(message.starts_with(&format!("registries.yaml:{line}: ")), "{text}\n{message}");
        assert!(message.contains(expected), "{text}\n{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Registries::read(Path::new("/nonexistent/registries.yaml")).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nonexistent/registries.yaml: "), "{error}");
}

#[test]
fn credentials_are_not_shown() {
    let registries = parse("configs:\n  ghcr.io: {auth: {username: u, password: hunter2}}\n");
    assert!(!format!("{registries:?}").contains("hunter2"));
}

//! What containerd expects of a mirror, by raw HTTP against a real node with a real registry behind.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use shoal_tests::{
    client::{Answer, Mirror},
    image::{INDEX, Image, MANIFEST, digest_of},
    mock::{Behaviour, MockRegistry},
    node::{NodeOptions, ShoalNode},
    registry::{self, Registry},
    stage::Stage,
};

struct Scene {
    stage: Stage,
    registry: Registry,
    image: Image,
    _node: ShoalNode,
    mirror: Mirror,
}

impl Scene {
    async fn set(name: &str) -> Result<Option<Self>> {
        let Some(stage) = Stage::begin(name, &registry::NEEDS)? else { return Ok(None) };
        let registry = Registry::start(&stage).await?;
        // Several pieces in one layer, and one layer that is smaller than a piece.
        let image = Image::generate_with_index(&stage.path().join("image"), 14, &[900_000, 1_000])?;
        registry.push(&image, "team/app").await?;
        let options = NodeOptions::mirroring(&registry.host());
        let node = ShoalNode::start(&stage, "node", &options).await?;
        let mirror = Mirror::new(&node.url(), &registry.host(), "team/app")?;
        Ok(Some(Self { stage, registry, image, _node: node, mirror }))
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.mirror.ask(Method::GET, path, headers).await
    }

    async fn head(&self, path: &str) -> Result<Answer> {
        self.mirror.ask(Method::HEAD, path, &[]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_the_base_is_200_without_a_challenge() -> Result<()> {
    let Some(scene) = Scene::set("t1").await? else { return Ok(()) };
    for path in ["/v2", "/v2/"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = scene.mirror.ask(method, path, &[]).await?;
            answer.expect_status(path, StatusCode::OK)?;
            assert!(!answer.headers.contains_key("www-authenticate"));
        }
    }
    scene.stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn t2_head_of_a_tag_has_type_length_and_digest_and_no_body() -> Result<()> {
    let Some(scene) = Scene::set("t2").await? else { return Ok(()) };
    let (index, manifest) = (scene.image.target().clone(), scene.image.manifest.clone());
    for (reference, blob, media_type) in
        [(Image::TAG, &index, INDEX), (&index.digest, &index, INDEX), (&manifest.digest, &manifest, MANIFEST)]
    {
        // Twice: first from the upstream, then from what the node knows.
        for _ in 0..2 {
            let answer = scene.head(&scene.mirror.manifest_path(reference)).await?;
            answer.expect_status(reference, StatusCode::OK)?;
            assert_eq!(answer.header("content-type")?, media_type);
            assert_eq!(answer.header("content-length")?, blob.size.to_string());
            assert_eq!(answer.header("docker-content-digest")?, blob.digest);
            assert!(answer.body.is_empty());
        }
    }
    scene.stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn t3_without_ns_a_tag_is_404_and_a_digest_succeeds() -> Result<()> {
    let Some(scene) = Scene::set("t3").await? else { return Ok(()) };
    scene.mirror.pull().await?;
    let plain = scene.mirror.without_namespace();
    let answer = plain.ask(Method::GET, &plain.manifest_path(Image::TAG), &[]).await?;
    answer.expect_status("a tag without ns", StatusCode::NOT_FOUND)?;
    assert_eq!(answer.error_code()?, "MANIFEST_UNKNOWN");
    let answer = plain.ask(Method::GET, &plain.manifest_path(&scene.image.target().digest), &[]).await?;
    answer.expect_status("a manifest without ns", StatusCode::OK)?;
    assert_eq!(digest_of(&answer.body), scene.image.target().digest);
    for layer in &scene.image.layers {
        let answer = plain.ask(Method::GET, &plain.blob_path(&layer.digest), &[]).await?;
        answer.expect_status("a blob without ns", StatusCode::OK)?;
        assert_eq!(digest_of(&answer.body), layer.digest);
    }
    scene.stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_an_unknown_digest_is_404_with_the_right_code() -> Result<()> {
    let Some(scene) = Scene::set("t4").await? else { return Ok(()) };
    let digest = digest_of(b"nobody has this");
    for mirror in [scene.mirror.clone(), scene.mirror.without_namespace()] {
        for (path, code) in
            [(mirror.blob_path(&digest), "BLOB_UNKNOWN"), (mirror.manifest_path(&digest), "MANIFEST_UNKNOWN")]
        {
            let answer = mirror.ask(Method::GET, &path, &[]).await?;
            answer.expect_status(&path, StatusCode::NOT_FOUND)?;
            assert_eq!(answer.error_code()?, code);
            assert!(answer.header("content-type")?.starts_with("application/json"));
            let head = mirror.ask(Method::HEAD, &path, &[]).await?;
            head.expect_status(&path, StatusCode::NOT_FOUND)?;
            assert!(head.body.is_empty());
        }
    }
    scene.stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_a_digest_of_the_other_kind_is_404_before_and_after_it_is_held() -> Result<()> {
    let Some(stage) = Stage::begin("t5", &[])? else { return Ok(()) };
    // docker-registry answers 500 to HEAD of a manifest whose digest is that of a layer, so it cannot be the upstream here.
    let image = Image::generate_with_index(&stage.path().join("image"), 15, &[900_000, 1_000])?;
    let mock = MockRegistry::start(&image, Behaviour::default()).await?;
    let node = ShoalNode::start(&stage, "node", &NodeOptions::mirroring(&mock.host())).await?;
    let mirror = Mirror::new(&node.url(), &mock.host(), "team/app")?;
    for pulled in [false, true] {
        if pulled {
            mirror.pull().await?;
        }
        let manifest_as_blob = (mirror.blob_path(&image.manifest.digest), "BLOB_UNKNOWN");
        let blob_as_manifest = (mirror.manifest_path(&image.layers[0].digest), "MANIFEST_UNKNOWN");
        for (path, code) in [manifest_as_blob, blob_as_manifest] {
            let answer = mirror.ask(Method::GET, &path, &[]).await?;
            answer.expect_status(&path, StatusCode::NOT_FOUND)?;
            assert_eq!(answer.error_code()?, code, "pulled: {pulled}");
        }
    }
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn t6_other_methods_are_405_and_change_nothing() -> Result<()> {
    let Some(scene) = Scene::set("t6").await? else { return Ok(()) };
    scene.mirror.pull().await?;
    let layer = scene.mirror.blob_path(&scene.image.layers[0].digest);
    let uploads = "/v2/team/app/blobs/uploads/".to_owned();
    for path in [scene.mirror.manifest_path(Image::TAG), layer.clone(), uploads] {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = scene.mirror.ask(method.clone(), &path, &[]).await?;
            answer.expect_status(&format!("{method} {path}"), StatusCode::METHOD_NOT_ALLOWED)?;
            assert_eq!(answer.error_code()?, "UNSUPPORTED");
        }
    }
    assert_eq!(digest_of(&scene.get(&layer, &[]).await?.body), scene.image.layers[0].digest);
    let exchanges = scene.registry.exchanges()?;
    let passed_on = exchanges.iter().find(|exchange| exchange.method != "GET" && exchange.method != "HEAD");
    assert_eq!(passed_on, None, "a method was passed on to the registry");
    scene.stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_ranges_are_206_with_the_right_bytes_and_416_past_the_end() -> Result<()> {
    let Some(scene) = Scene::set("t7").await? else { return Ok(()) };
    let layer = scene.image.largest_layer();
    let (path, content) = (scene.mirror.blob_path(&layer.digest), scene.image.read(layer)?);
    let size = content.len();
    let cases = [
        ("0-".to_owned(), 0, size - 1),
        ("0-0".to_owned(), 0, 0),
        ("1000-300000".to_owned(), 1000, 300_000),
        ("262144-".to_owned(), 262_144, size - 1),
        ("-1000".to_owned(), size - 1000, size - 1),
        (format!("-{}", size + 5), 0, size - 1),
        (format!("{}-{}", size - 10, size + 10), size - 10, size - 1),
    ];
    // Before and after the blob is held.
    for pulled in [false, true] {
        if pulled {
            scene.mirror.pull().await?;
        }
        for (range, first, last) in &cases {
            let answer = scene.get(&path, &[("range", &format!("bytes={range}"))]).await?;
            answer.expect_status(range, StatusCode::PARTIAL_CONTENT)?;
            assert_eq!(answer.header("content-range")?, format!("bytes {first}-{last}/{size}"));
            assert_eq!(answer.header("content-length")?, (last + 1 - first).to_string());
            assert!(answer.body == content[*first..=*last], "range {range} has other bytes, pulled: {pulled}");
        }
        for range in [format!("{size}-"), format!("{}-{}", size + 1, size + 9)] {
            let answer = scene.get(&path, &[("range", &format!("bytes={range}"))]).await?;
            answer.expect_status(&range, StatusCode::RANGE_NOT_SATISFIABLE)?;
            assert_eq!(answer.header("content-range")?, format!("bytes */{size}"));
        }
    }
    scene.stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_range_on_a_manifest_gives_bytes_of_it() -> Result<()> {
    let Some(scene) = Scene::set("t7-manifest").await? else { return Ok(()) };
    let answer = scene.get(&scene.mirror.manifest_path(&scene.image.manifest.digest), &[("range", "bytes=0-")]).await?;
    assert!([200, 206].contains(&answer.status.as_u16()), "{}", answer.status);
    if answer.status == StatusCode::PARTIAL_CONTENT {
        let size = scene.image.manifest.size;
        assert_eq!(answer.header("content-range")?, format!("bytes 0-{}/{size}", size - 1));
    }
    assert_eq!(digest_of(&answer.body), scene.image.manifest.digest);
    scene.stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_head_of_a_blob_has_its_length_and_says_that_ranges_work() -> Result<()> {
    let Some(scene) = Scene::set("t8").await? else { return Ok(()) };
    for pulled in [false, true] {
        if pulled {
            scene.mirror.pull().await?;
        }
        for blob in scene.image.layers.iter().chain([&scene.image.config]) {
            let answer = scene.head(&scene.mirror.blob_path(&blob.digest)).await?;
            answer.expect_status("HEAD of a blob", StatusCode::OK)?;
            assert_eq!(answer.header("content-length")?, blob.size.to_string());
            assert_eq!(answer.header("accept-ranges")?, "bytes");
            assert!(answer.body.is_empty());
        }
    }
    scene.stage.passed();
    Ok(())
}

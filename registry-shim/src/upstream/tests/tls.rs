//! TLS settings of registries.yaml against a server with a private authority that wants client certificates.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Certificates in a directory: `ca.pem`, `client.pem`, `client.key`, `server.pem`, `server.key`.
fn make_certificates(directory: &Path) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    for (name, host) in [("server", "127.0.0.1"), ("client", "client.example")] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// Answers each connection that has a good client certificate with ten bytes.
async fn serve(directory: &Path) -> SocketAddr {
    let certificate = |name: &str| CertificateDer::from_pem_file(directory.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate("server.pem")], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789").await;
            }
            let _ = stream.shutdown().await;
        }
    });
    address
}

async fn fetch(address: SocketAddr, directory: &Path, tls: &str) -> Result<Vec<u8>, UpstreamFailure> {
    let tls = tls.replace('@', directory.to_str().unwrap());
    let client = client_with(&format!("configs:\n  {address}: {{tls: {{{tls}}}}}\n"));
    let body = client.fetch(&source_at(&address.to_string()), &any_digest(), 0..10).await?;
    read(body).await
}

#[tokio::test]
async fn authority_client_certificate_and_the_lack_of_them_are_honoured() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let address = serve(directory.path()).await;
    let client = "cert_file: @/client.pem, key_file: @/client.key";
    for (tls, succeeds) in [
        (format!("ca_file: @/ca.pem, {client}"), true),
        (format!("insecure_skip_verify: true, {client}"), true),
        (client.to_owned(), false),
        ("ca_file: @/ca.pem".to_owned(), false),
    ] {
        let fetched = fetch(address, directory.path(), &tls).await;
        let expected = if succeeds { Ok(b"0123456789".to_vec()) } else { Err(UpstreamFailure::Unavailable) };
        assert_eq!(fetched, expected, "{tls}");
    }
}

//! Mutual TLS 1.3 in which a peer is accepted only if its key is that of a member which sealed gossip announced.
//!
//! There are no authorities: each node presents a self-signed certificate, and what counts is the Ed25519 key in it.
//! Whoever dials expects exactly one member, named in the server name; whoever answers accepts any known member.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use shoal_wire::ids::{MemberId, PublicKey};

use crate::{clock::Throttle, engine::StartError, identity::Identity, metrics::Metrics, table::PeerTable};

/// The protocol on top of QUIC (RFC 7301).
const ALPN: &[u8] = b"shoal/1";

/// Beginning of a SubjectPublicKeyInfo with an Ed25519 key (RFC 8410); the 32 bytes of the key follow.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The name by which a member is dialled. It exists in no DNS (RFC 2606).
pub(crate) fn server_name(id: MemberId) -> String {
    format!("{id}.shoal.invalid")
}

/// The key in a peer's certificate. `None` where it is not a certificate with an Ed25519 key.
pub(crate) fn key_of(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let info = parsed.subject_public_key_info();
    let key = info.as_ref().strip_prefix(&ED25519_SPKI)?;
    Some(PublicKey(key.try_into().ok()?))
}

/// TLS configurations of both sides of `identity`'s connections.
///
/// # Errors
/// The key does not fit the certificate, which `Identity` rules out.
pub(crate) fn configs(
    identity: &Identity,
    table: &Arc<PeerTable>,
    metrics: &Arc<Metrics>,
) -> Result<(ClientConfig, ServerConfig), StartError> {
    let provider = Arc::new(provider());
    let verifier = Arc::new(PeerVerifier::new(table.clone(), metrics.clone(), provider.clone()));
    build(identity, &verifier, &provider)
        .map_err(|error| StartError::Other(format!("cannot set up TLS with the node's key: {error}")))
}

fn build(
    identity: &Identity,
    verifier: &Arc<PeerVerifier>,
    provider: &Arc<CryptoProvider>,
) -> Result<(ClientConfig, ServerConfig), Error> {
    let chain = vec![identity.certificate()];
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_auth_cert(chain.clone(), identity.private_key())?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the look at the table of members.
    client.resumption = Resumption::disabled();
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier.clone())
        .with_single_cert(chain, identity.private_key())?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.send_tls13_tickets = 0;
    Ok((client, server))
}

/// AES-128-GCM first, as the fastest; X25519 alone, so that a handshake fits into one datagram each way.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}

/// Accepts members and nobody else.
#[derive(Debug)]
struct PeerVerifier {
    table: Arc<PeerTable>,
    metrics: Arc<Metrics>,
    provider: Arc<CryptoProvider>,
    log: Throttle,
}

impl PeerVerifier {
    fn new(table: Arc<PeerTable>, metrics: Arc<Metrics>, provider: Arc<CryptoProvider>) -> Self {
        Self { table, metrics, provider, log: Throttle::new(Duration::from_secs(10)) }
    }

    /// The id of the member that owns the certificate's key.
    fn member(&self, certificate: &CertificateDer<'_>) -> Result<MemberId, Error> {
        let key = key_of(certificate).ok_or_else(|| self.refuse("its certificate has no Ed25519 key", None))?;
        let id = MemberId::of(&key);
        if self.table.is_member(&key) { Ok(id) } else { Err(self.refuse("it is not a known member", Some(id))) }
    }

    fn refuse(&self, reason: &str, id: Option<MemberId>) -> Error {
        self.metrics.handshakes_refused.increment();
        if self.log.ready() {
            let peer = id.map_or_else(|| "of unknown id".to_owned(), |id| id.to_string());
            tracing::warn!(peer, reason, "refused a QUIC handshake");
        }
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
            .inspect_err(|_| {
                self.refuse("it does not own the key that it shows", None);
            })
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let id = self.member(end_entity)?;
        if server_name.to_str() != self::server_name(id) {
            return Err(self.refuse("another member answers at the address", Some(id)));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.member(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

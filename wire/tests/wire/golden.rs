//! The bytes of each message, so that no change of the format goes unnoticed.
//!
//! A change that is meant raises `PROTOCOL_VERSION` once something was released, and replaces the table by what
//! `cargo test -p shoal-wire --test wire -- --ignored --nocapture print_vectors` prints.

use std::fmt::Write as _;

use shoal_wire::{
    codec::Message,
    control::ControlMessage,
    digest::Digest,
    frame,
    geometry::PieceIndex,
    ids::{MemberId, PieceHash, PublicKey},
    transfer::{PieceReply, PieceRequest, Urgency, Voucher},
};

use crate::samples;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[test]
#[ignore = "prints the table below for a change that is meant"]
fn print_vectors() {
    for sample in samples::all() {
        println!("    ({:?}, {:?}),", sample.name, hex(&sample.bytes));
    }
}

#[test]
fn every_message_has_its_known_bytes() {
    let samples = samples::all();
    for (sample, (name, expected)) in samples.iter().zip(VECTORS) {
        assert_eq!(sample.name, *name);
        assert_eq!(hex(&sample.bytes), *expected, "{name}");
    }
    assert_eq!(samples.len(), VECTORS.len(), "a vector for each sample");
}

/// The variant leads the encoding. So the first bytes of the samples must be all numbers up to the last variant, and
/// the number after it must be refused as a variant.
fn assert_all_variants<M: Message + std::fmt::Debug>(kind: impl Fn(&[u8]) -> bool) {
    let firsts: std::collections::BTreeSet<u8> =
        samples::all().iter().filter(|sample| kind(&sample.bytes)).map(|sample| sample.bytes[0]).collect();
    let count = u8::try_from(firsts.len()).unwrap();
    assert_eq!(firsts, (0..count).collect(), "{}: a variant without a sample", M::KIND);
    let next = M::decode(&[&[count][..], &[0; 256]].concat()).unwrap_err().to_string();
    assert!(next.contains("expected variant index"), "{}: variant {count} has no sample: {next}", M::KIND);
}

#[test]
fn every_variant_has_a_sample() {
    assert_all_variants::<PieceReply>(|bytes| PieceReply::decode(bytes).is_ok());
    assert_all_variants::<ControlMessage>(|bytes| ControlMessage::decode(bytes).is_ok());
}

#[test]
fn streams_have_their_known_bytes() {
    let request = PieceRequest { digest: samples::sha256(), piece: PieceIndex(3), urgency: Urgency::Bulk, held: 2 };
    let expected = format!("010024{}030002", "00".to_owned() + &"25".repeat(32));
    assert_eq!(hex(&frame::encode_request(&request).unwrap()), expected);
    assert_eq!(hex(&frame::encode_reply(&PieceReply::NotHeld).unwrap()), "000102");

    let part = ControlMessage::Part { digest: samples::sha256() };
    let frame = frame::encode_frame(&part).unwrap();
    assert_eq!(hex(&frame[..4]), "00000022");
    assert_eq!(frame[4..], part.encode().unwrap());
    assert_eq!(frame::STREAM_OPENING, [1]);
}

#[test]
fn a_voucher_signs_known_bytes() {
    let signed = Voucher::signed_bytes(&Digest::Sha256([0x25; 32]), PieceIndex(258), &PieceHash([0xcc; 32]));
    let expected = [
        "73686f616c20706965636520766f75636865722076310073686132353600",
        &"25".repeat(32),
        "00000102",
        &"cc".repeat(32),
    ]
    .concat();
    assert_eq!(hex(&signed), expected);
}

/// The id is the head of the BLAKE3 hash; the expected value is what `b3sum` says about 32 zero bytes.
#[test]
fn a_member_is_named_after_its_key() {
    assert_eq!(MemberId::of(&PublicKey([0; 32])).to_string(), "2ada83c1819a5372dae1238fc1ded123");
}

// One vector a line reads best, however long.
#[rustfmt::skip]
const VECTORS: &[(&str, &str)] = &[
    ("resolve a tag", "01fb2c0109646f636b65722e696f0e6c6962726172792f616c70696e65000004332e3230"),
    ("resolve a digest", "01fb2c010e6c6f63616c686f73743a353030300361707001010151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515152"),
    ("resolution found", "02fb2c0100002a6170706c69636174696f6e2f766e642e6f63692e696d6167652e6d616e69666573742e76312b6a736f6e002525252525252525252525252525252525252525252525252525252525252525fbc005"),
    ("resolution failed", "02fb2c01000100"),
    ("resolution ask upstream", "02fb2c0101"),
    ("resolution pending", "02fb2c0102"),
    ("publish found", "0309646f636b65722e696f0e6c6962726172792f616c70696e65000004332e3230002a6170706c69636174696f6e2f766e642e6f63692e696d6167652e6d616e69666573742e76312b6a736f6e002525252525252525252525252525252525252525252525252525252525252525fbc005"),
    ("publish not found", "0309646f636b65722e696f0e6c6962726172792f616c70696e65000004332e32300100"),
    ("lease", "07002525252525252525252525252525252525252525252525252525252525252525fc70110100fafbfb00"),
    ("lease progress", "08002525252525252525252525252525252525252525252525252525252525252525fc70110100fb0401"),
    ("lease returned done", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb040100"),
    ("lease returned not found", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb04010100"),
    ("lease returned denied", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb04010101"),
    ("lease returned rate limited", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb040101021e"),
    ("lease returned unavailable", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb04010103"),
    ("lease returned wrong content", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb04010104"),
    ("lease returned no upstream", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb04010105"),
    ("lease returned no ranges", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb040102"),
    ("lease returned abandoned", "09002525252525252525252525252525252525252525252525252525252525252525fc70110100fb040103"),
    ("lease cut", "0a002525252525252525252525252525252525252525252525252525252525252525fc70110100fb0401"),
    ("swarm failed", "0b00252525252525252525252525252525252525252525252525252525252525252501"),
    ("announce", "04002525252525252525252525252525252525252525252525252525252525252525fc0000400600fb9001040011fb1b01010101000109112001a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"),
    ("peers", "0500252525252525252525252525252525252525252525252525252525252525252502a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b201b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b201fb8813"),
    ("withdraw", "060151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515151515152"),
    ("hello with an empty map", "0c0025252525252525252525252525252525252525252525252525252525252525250000010001000401"),
    ("hello with a full map", "0c002525252525252525252525252525252525252525252525252525252525252525fc0000400600fb90010200fb900101000401"),
    ("hello with runs", "0c002525252525252525252525252525252525252525252525252525252525252525fc0000400600fb9001040011fb1b010101000401"),
    ("hello with words", "0c002525252525252525252525252525252525252525252525252525252525252525fc00000002018002fd5555555555555555fd555555555555555501000401"),
    ("have", "0d002525252525252525252525252525252525252525252525252525252525252525040303fb260101fb04010401"),
    ("slot free", "0e0401"),
    ("part", "0f002525252525252525252525252525252525252525252525252525252525252525"),
    ("request bulk", "002525252525252525252525252525252525252525252525252525252525252525fbffff0007"),
    ("request on demand", "002525252525252525252525252525252525252525252525252525252525252525fbffff0107"),
    ("reply sending", "00a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc40dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"),
    ("reply busy", "010401"),
    ("reply not held", "02"),
    ("gossip ping", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a100fc70110100b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b200"),
    ("gossip ack", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a101fc7011010000"),
    ("gossip ping request", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a102fc70110100b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b200"),
    ("gossip nack", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a103fc7011010000"),
    ("gossip with news of each kind", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a10405004b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730701b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2fd0068e5cf8b0100000302b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2fd0068e5cf8b01000003a1a1a1a1a1a1a1a103b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2fd0068e5cf8b0100000304b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2fd0068e5cf8b01000003"),
    ("gossip tell", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a10500"),
    ("gossip join", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a106fc701101004b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730700"),
    ("gossip join reply", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a107fc701101004b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730700"),
    ("gossip record request", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a10802b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b200"),
    ("probe", "00000500"),
    ("probe of a suspect", "00000501fd0068e5cf8b01000003"),
    ("probe ack", "000105fd0068e5cf8b01000003"),
    ("snapshot request", "000200"),
    ("snapshot request further", "000201b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"),
    ("snapshot page", "0003044b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc40597307004b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc40597307014b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730702074b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730703fb2c0101b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"),
    ("snapshot busy", "0004014b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc40597307"),
    ("sync digests", "00050200fdffffffffffffffff"),
    ("sync buckets", "00060200ff044b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc40597307004b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc40597307014b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730702074b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730703fb2c01"),
    ("sync news", "0007044b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc40597307004b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc40597307014b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730702074b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4bfd0068e5cf8b0100000300c0000201fb89130465752d3101fc4059730703fb2c01"),
];

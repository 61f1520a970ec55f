//! Messages of the fast path and of settlement, and what a settlement block carries.

use hanzo_snow::fastpath::{ConflictKey, FastMessage, Tx, Vertex};
use hanzo_snow::settlement::{Message, QuorumCertificate, Timeout, Vote};
use hanzo_snow::{Close, CloseReport, Committee, DualMessage, MessageError, Payload, Signature, Signers, ValidatorSet};

use crate::{Parser, canonical};

pub(crate) const PARSERS: &[Parser] = &[
    Parser { name: "snow/message", samples: messages, read: message, memory: 128 },
    Parser { name: "snow/payload", samples: payloads, read: payload, memory: 128 },
];

const CHAIN: [u8; 32] = [9; 32];

fn committee() -> Committee {
    let validators = ValidatorSet::new((0..4).map(|n| ([n; 32], 1))).expect("four have stake");
    Committee::new(CHAIN, 3, validators).expect("four are few")
}

fn messages() -> Vec<Vec<u8>> {
    let tx = Tx::new([ConflictKey::new(b"worker", 1)], *b"match").expect("one key");
    let sign = |_: &[u8]| Ok::<_, MessageError>(Signature::from([1; 3]));
    let vertex = Vertex::new(&committee(), 1, 1, Vec::new(), [tx], sign).expect("it is small");
    let signatures = [Signature::from([1; 3]), Signature::from([2; 3])];
    let high =
        QuorumCertificate { view: 6, block: [4; 32], signers: Signers::new([0, 2]), signatures: signatures.into() };
    let vote = Vote { view: 7, block: [5; 32], voter: 1, signature: Signature::from([3; 3]) };
    let timeout =
        Timeout { view: 7, high, entry: None, vote: Some(vote.clone()), voter: 1, signature: Signature::from([4; 3]) };
    let report = CloseReport { reporter: 2, certificates: [[3; 32]].into(), signature: Signature::from([5; 3]) };
    [
        DualMessage::Settlement(Message::Vote(vote)),
        DualMessage::Settlement(Message::Timeout(timeout)),
        DualMessage::Fast(FastMessage::Vertex(vertex)),
        DualMessage::Fast(FastMessage::Get(vec![[8; 32]])),
        DualMessage::Report(report),
        DualMessage::GetSettled { sequence: 2 },
    ]
    .iter()
    .map(|message| message.encode(&CHAIN, 3))
    .collect()
}

fn message(bytes: &[u8]) -> bool {
    canonical(bytes, DualMessage::decode(bytes), |(chain, epoch, message)| message.encode(chain, *epoch))
}

fn payloads() -> Vec<Vec<u8>> {
    let close = Close::Open { next: [([1; 32], 2)].into() };
    let payload = Payload { close: Some(close), order: Some((*b"order").into()), ..Payload::default() };
    vec![payload.encode(&committee())]
}

fn payload(bytes: &[u8]) -> bool {
    canonical(bytes, Payload::decode(bytes, &committee()), |payload| payload.encode(&committee()))
}

//! Bytes on the wire: pinned, one form each, bounded.

use hanzo_snow::fastpath::{Ack, Certificate, ConflictKey, FastMessage, Tx, Vertex};
use hanzo_snow::settlement::{Block, Message, Proposal, QuorumCertificate, Timeout, TimeoutCertificate, Vote};
use hanzo_snow::{
    Close, CloseReport, Committee, DualMessage, MessageError, NodeId, Payload, Signature, SignatureError, Signers,
    ValidatorSet, VerifyAll, WireError,
};
use sha2::{Digest, Sha256};

const CHAIN: [u8; 32] = [9; 32];
const EPOCH: u64 = 3;

fn committee() -> Committee {
    let validators = ValidatorSet::new((0..4).map(|n| ([n; 32], 1))).expect("four have stake");
    Committee::new(CHAIN, EPOCH, validators).expect("four are few")
}

fn signature(n: u8) -> Signature {
    Signature::from([n; 3])
}

fn vertex(round: u64) -> Vertex {
    let tx = Tx::new([ConflictKey::new(b"worker", 1), ConflictKey::new(b"tenant", 2)], *b"match").expect("two keys");
    let parents = if round == 1 { Vec::new() } else { vec![[2; 32], [1; 32]] };
    Vertex::new(&committee(), round, 1, parents, [tx], |_| Ok::<_, MessageError>(signature(1))).expect("it is small")
}

fn messages() -> Vec<DualMessage> {
    let high = QuorumCertificate {
        view: 6,
        block: [4; 32],
        signers: Signers::new([0, 2, 3]),
        signatures: [signature(0), signature(2), signature(3)].into(),
    };
    let entry = TimeoutCertificate {
        view: 7,
        signers: Signers::new([0, 1, 2]),
        high_views: [6, 5, 6].into(),
        signatures: [signature(0), signature(1), signature(2)].into(),
    };
    let vote = Vote { view: 8, block: [5; 32], voter: 1, signature: signature(1) };
    let block = Block {
        view: 8,
        height: 5,
        proposer: 0,
        justify: high.clone(),
        entry: Some(entry.clone()),
        payload: (*b"payload").into(),
        next: Some([([7; 32], 5)].into()),
    };
    let vertex = vertex(2);
    let bitmap: std::sync::Arc<[u8]> = [1].into();
    let ack = Ack { vertex: vertex.id(&committee()), round: 2, bitmap, acker: 2, signature: signature(2) };
    let others = [0, 2, 3].map(|acker| Ack { acker, ..ack.clone() });
    let certificate = Certificate::new(1, others.iter()).expect("three are some");
    let timeout = Timeout {
        view: 8,
        high: high.clone(),
        entry: Some(entry),
        vote: Some(vote.clone()),
        voter: 1,
        signature: signature(1),
    };
    let report = CloseReport { reporter: 2, certificates: [[3; 32]].into(), signature: signature(2) };
    vec![
        DualMessage::Settlement(Message::Proposal(Proposal { block: block.clone(), signature: signature(0) })),
        DualMessage::Settlement(Message::Vote(vote)),
        DualMessage::Settlement(Message::Timeout(timeout)),
        DualMessage::Settlement(Message::Request { after: 4 }),
        DualMessage::Settlement(Message::Chain { blocks: vec![block], certificate: high }),
        DualMessage::Fast(FastMessage::Vertex(vertex.clone())),
        DualMessage::Fast(FastMessage::Ack(ack)),
        DualMessage::Fast(FastMessage::Certificate(certificate.clone())),
        DualMessage::Fast(FastMessage::Get(vec![[8; 32]])),
        DualMessage::Fast(FastMessage::Certificates(vec![(certificate, vertex)])),
        DualMessage::Report(report),
        DualMessage::GetSettled { sequence: 2 },
    ]
}

#[test]
fn every_message_comes_back_and_no_other_bytes_do() {
    for message in messages() {
        let bytes = message.encode(&CHAIN, EPOCH);
        assert_eq!(DualMessage::decode(&bytes), Ok((CHAIN, EPOCH, message)));
        for cut in 0..bytes.len() {
            assert!(DualMessage::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(DualMessage::decode(&[&bytes[..], &[0]].concat()), Err(WireError::Malformed { field: "end" }));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x81;
            if let Ok((chain, epoch, message)) = DualMessage::decode(&damaged) {
                assert_eq!(message.encode(&chain, epoch), damaged, "two forms, byte {at}");
            }
        }
    }
}

/// The ids of its transactions are of the chain and epoch it was read for, so that nothing is hashed again.
#[test]
fn a_vertex_is_of_one_chain_and_one_epoch() {
    struct Trusting;
    impl VerifyAll for Trusting {
        fn verify_all(&self, _: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError> {
            Ok(())
        }
    }
    let of = |chain, epoch| {
        let frame = DualMessage::Fast(FastMessage::Vertex(vertex(1))).encode(&chain, epoch);
        match DualMessage::decode(&frame) {
            Ok((_, _, DualMessage::Fast(FastMessage::Vertex(vertex)))) => vertex.verify(&committee(), &Trusting),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(CHAIN, EPOCH), Ok(()));
    assert_eq!(of([8; 32], EPOCH), Err(MessageError::WrongChain));
    assert_eq!(of(CHAIN, EPOCH + 1), Err(MessageError::WrongEpoch { expected: EPOCH, found: EPOCH + 1 }));
}

#[test]
fn long_lists_are_refused_before_they_are_allocated() {
    let mut bytes = DualMessage::Fast(FastMessage::Get(Vec::new())).encode(&CHAIN, EPOCH);
    let length = bytes.len() - 4;
    bytes[length..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(DualMessage::decode(&bytes), Err(WireError::TooLarge { field: "ids", limit: 64 }));
    bytes[length..].copy_from_slice(&60_u32.to_be_bytes());
    assert_eq!(DualMessage::decode(&bytes), Err(WireError::Malformed { field: "ids" }));
}

#[test]
fn payloads_come_back() {
    let close = Close::Open { next: [([1; 32], 2)].into() };
    let payload = Payload { close: Some(close), order: Some((*b"order").into()), ..Payload::default() };
    let bytes = payload.encode(&committee());
    assert_eq!(Payload::decode(&bytes, &committee()), Ok(payload));
    for cut in 0..bytes.len() {
        assert!(Payload::decode(&bytes[..cut], &committee()).is_err());
    }
}

/// What is signed and hashed, of version 1. A change here is another version.
#[test]
fn the_bytes_of_version_1_stay_as_they_are() {
    let committee = committee();
    let mut all = Sha256::new();
    for message in messages() {
        let bytes = message.encode(&CHAIN, EPOCH);
        all.update((bytes.len() as u64).to_be_bytes());
        all.update(bytes);
    }
    let pinned = [
        hex::encode(all.finalize()),
        hex::encode(vertex(1).id(&committee)),
        hex::encode(vertex(1).tx_ids()[0]),
        hex::encode(Sha256::digest(Vote::signed_bytes(&committee, 8, &[5; 32]))),
        hex::encode(Sha256::digest(Timeout::signed_bytes(&committee, 8, 6))),
        hex::encode(ConflictKey::new(b"worker", 1).as_bytes()),
    ];
    assert_eq!(
        pinned,
        [
            "9e65db96513b1127dffc9803da531b7a982e09375fdd9ec8baccfea5fdfd7311",
            "99d2704802a71d90b890c99cabd255069f0998f54e618214dd1b79bb253d5065",
            "8d245890e64357ea01bd9feb68e9ea7f66d6e59c9434ffe9ceb107b6368ebbef",
            "c40d8fea11c8cd7f6910fc0fb3d5899fbb3bc8381713379016cc368911750f4e",
            "cbe7d8ef1a5b9db9f3934ba97719064b5ad82aba7897a6d9d37f0ef4c0603721",
            "2b1b04f9233620c798d3f629585753cc3b8893873261cdc70c97b20c185a4f50",
        ]
    );
    let vote = Vote::signed_bytes(&committee, 8, &[5; 32]);
    assert!(vote.starts_with(b"hanzo-snow/v1/vote\0") && vote.len() == 19 + 32 + 8 + 8 + 32);
}

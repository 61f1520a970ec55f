//! Links between validators: frames over TCP, each link one way, its sender known by a signature.
//!
//! A frame is a length of four bytes, big-endian, and as many bytes. Links are authenticated but not encrypted, and a frame is not bound to
//! the signature at its beginning: on the loopback interface nobody sits between. Elsewhere run this over TLS.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hanzo::snow::{DualMessage, NodeId, Sign, VerifyAll};
use sha2::{Digest, Sha256};

use crate::keys::Authority;

/// Longest frame: 64 certificates with their vertices, of as many transactions as these validators take, fit.
pub(crate) const MAX_FRAME: u32 = 8 << 20;
/// Longest frame before its sender is known.
const MAX_HELLO: u32 = 16 << 10;
/// Frames that wait for a slow peer; the rest is lost, and the protocol sends again what matters.
const WAITING: usize = 1_024;
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer that does not answer is left alone.
const PAUSE: Duration = Duration::from_millis(50);

/// A message with who sent it and its epoch.
pub(crate) struct Received {
    pub(crate) from: NodeId,
    pub(crate) epoch: u64,
    pub(crate) message: DualMessage,
}

/// Who a validator is to the others.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) own: NodeId,
    pub(crate) chain: [u8; 32],
    pub(crate) members: Arc<[NodeId]>,
    pub(crate) authority: Authority,
}

/// Reads a frame; one that is longer than `limit` is refused before anything is allocated for it.
pub(crate) fn read_frame(stream: &mut impl Read, limit: u32) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    // Grows with what arrives, not with what is promised.
    let mut frame = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut frame)?;
    if frame.len() == length as usize { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes a frame.
pub(crate) fn write_frame(stream: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(frame)
}

/// What the one who connects signs, over a challenge that the other has drawn.
fn hello(challenge: &[u8], from: &NodeId, to: &NodeId) -> Vec<u8> {
    [&b"hanzo-examples/dual_track_tcp/hello\0"[..], challenge, &from[..], &to[..]].concat()
}

/// Listens on a port of the system's choice and hands out what members send. At most four connections a member are open.
///
/// # Errors
///
/// The system's.
pub(crate) fn listen(identity: Identity, take: impl Fn(Received) -> bool + Clone + Send + 'static) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let open = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if open.fetch_add(1, Ordering::SeqCst) >= 4 * identity.members.len() {
                open.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (identity, take, open) = (identity.clone(), take.clone(), Arc::clone(&open));
            thread::spawn(move || {
                // A link that fails is its sender's to make again.
                let _ = receive(stream, &identity, &take);
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Ok(port)
}

fn receive(mut stream: TcpStream, identity: &Identity, take: &impl Fn(Received) -> bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut drawn = Sha256::new();
    for _ in 0..4 {
        // Its keys come from the system's generator.
        drawn.update(RandomState::new().hash_one(0).to_be_bytes());
    }
    let challenge = drawn.finalize();
    write_frame(&mut stream, &challenge)?;
    let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
    let answer = read_frame(&mut stream, MAX_HELLO)?;
    let (from, signature) = answer.split_first_chunk::<32>().ok_or_else(refused)?;
    let said = hello(&challenge, from, &identity.own);
    if !identity.members.contains(from) || identity.authority.verify_all(&[(*from, &said[..], signature)]).is_err() {
        return Err(refused());
    }
    stream.set_read_timeout(None)?;
    loop {
        let frame = read_frame(&mut stream, MAX_FRAME)?;
        let (chain, epoch, message) = DualMessage::decode(&frame).map_err(|_| refused())?;
        if chain != identity.chain || !take(Received { from: *from, epoch, message }) {
            return Err(refused());
        }
    }
}

/// The way to one other validator.
pub(crate) struct Outgoing {
    port: Arc<AtomicU16>,
    frames: SyncSender<Arc<[u8]>>,
}

impl Outgoing {
    /// To the member `to`, once it is known where that listens.
    pub(crate) fn new(identity: Identity, to: NodeId) -> Self {
        let (frames, waiting) = sync_channel(WAITING);
        let port = Arc::new(AtomicU16::new(0));
        let at = Arc::clone(&port);
        thread::spawn(move || send_all(&identity, &to, &at, &waiting));
        Self { port, frames }
    }

    /// Where it listens from now on.
    pub(crate) fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// Sends a frame if there is room.
    pub(crate) fn send(&self, frame: &Arc<[u8]>) {
        let _ = self.frames.try_send(Arc::clone(frame));
    }
}

fn send_all(identity: &Identity, to: &NodeId, port: &AtomicU16, waiting: &Receiver<Arc<[u8]>>) {
    let (mut link, mut not_before) = (None, Instant::now());
    for frame in waiting {
        if link.is_none() && Instant::now() >= not_before {
            link = connect(identity, to, port.load(Ordering::SeqCst)).ok();
            if link.is_none() {
                // Counted from this attempt only: a frame lost meanwhile must not put the next one off, or a busy link is never made again.
                not_before = Instant::now() + PAUSE;
            }
        }
        // Where the link fails the peer may have begun again: the next frame tries at once.
        if link.as_mut().is_some_and(|stream| write_frame(stream, &frame).is_err()) {
            link = None;
        }
    }
}

fn connect(identity: &Identity, to: &NodeId, port: u16) -> io::Result<TcpStream> {
    if port == 0 {
        return Err(io::ErrorKind::NotConnected.into());
    }
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let challenge = read_frame(&mut stream, 32)?;
    let signature = identity.authority.sign(&hello(&challenge, &identity.own, to)).map_err(io::Error::other)?;
    write_frame(&mut stream, &[&identity.own[..], &signature[..]].concat())?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::keys::Members;

    fn identity(position: usize) -> Identity {
        let Members { ids, committee, authority } = Members::new(4, 5, position).unwrap_or_else(|_| panic!("keys"));
        Identity { own: ids[position], chain: *committee.chain(), members: ids.into(), authority }
    }

    #[test]
    fn a_frame_is_bounded_before_it_is_read() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, b"three").unwrap();
        assert_eq!(read_frame(&mut &bytes[..], 5).unwrap(), b"three");
        assert_eq!(read_frame(&mut &bytes[..], 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_frame(&mut &bytes[..8], 5).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read_frame(&mut &[0xff; 4][..], MAX_FRAME).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(write_frame(&mut Vec::new(), &vec![0; MAX_FRAME as usize + 1]).is_err());
    }

    /// Also where frames for it follow one another faster than attempts to connect may.
    #[test]
    fn a_peer_that_begins_again_elsewhere_is_found_under_load() {
        let (sender, receiver) = (identity(1), identity(0));
        let frame: Arc<[u8]> = DualMessage::GetSettled { sequence: 1 }.encode(&sender.chain, 9).into();
        let way = Outgoing::new(sender, receiver.own);
        // Nobody listens there any more.
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        way.set_port(closed);
        let send_for = |frames: usize, heard: &dyn Fn() -> bool| {
            (0..frames).any(|_| {
                way.send(&frame);
                thread::sleep(PAUSE / 10);
                heard()
            })
        };
        assert!(!send_for(20, &|| false));
        let (take, taken) = channel();
        way.set_port(listen(receiver, move |received| take.send(received.epoch).is_ok()).unwrap());
        assert!(send_for(2_000, &|| taken.try_recv() == Ok(9)));
    }

    /// Who does not sign for the name it gives, or names nobody, is not heard.
    #[test]
    fn only_members_are_heard_and_under_their_own_name() {
        let (take, taken) = channel();
        let port = listen(identity(0), move |received| take.send((received.from, received.epoch)).is_ok()).unwrap();
        let message = |chain| Arc::from(DualMessage::GetSettled { sequence: 1 }.encode(&chain, 9));
        let honest = identity(1);
        let way = Outgoing::new(honest.clone(), honest.members[0]);
        way.set_port(port);
        way.send(&message(honest.chain));
        assert_eq!(taken.recv_timeout(TIMEOUT).unwrap(), (honest.own, 9));
        // Signed by 2, in the name of 3; then by 2 for another listener; then of another chain.
        let liar = Identity { own: honest.members[3], ..identity(2) };
        let elsewhere = honest.members[1];
        for (identity, to, chain) in [
            (liar, honest.members[0], honest.chain),
            (identity(2), elsewhere, honest.chain),
            (identity(2), honest.members[0], [0; 32]),
        ] {
            let way = Outgoing::new(identity, to);
            way.set_port(port);
            way.send(&message(chain));
            assert!(taken.recv_timeout(Duration::from_millis(200)).is_err());
        }
    }
}

//! Sends listening sockets through a Unix socket, as `SCM_RIGHTS`. On a helper thread of the old process, at the start of the
//! new one. It never trusts a count without checking it.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Descriptors in one message. Arbitrary: Linux accepts 253.
const PORTION: usize = 64;
/// Larger counts are refused. Arbitrary: more than there can be shards.
const SOCKETS_MAX: u32 = 4096;

/// Sends the number of sockets, then the sockets.
pub(super) fn send(control: &mut UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    let count = u32::try_from(sockets.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    control.write_all(&count.to_be_bytes())?;
    for portion in sockets.chunks(PORTION) {
        let fds: Vec<BorrowedFd<'_>> = portion.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(PORTION))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Descriptors can only be sent along with a byte.
        sendmsg(&*control, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives the sockets in their order.
pub(super) fn receive(control: &mut UnixStream) -> io::Result<Vec<TcpListener>> {
    let mut count = [0; 4];
    control.read_exact(&mut count)?;
    let count = u32::from_be_bytes(count);
    if count > SOCKETS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{count} sockets were announced")));
    }
    let mut sockets = Vec::new();
    while sockets.len() < count as usize {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(PORTION))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let got = recvmsg(&*control, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let before = sockets.len();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                sockets.extend(fds.map(|fd: OwnedFd| TcpListener::from(fd)));
            }
        }
        if got.bytes == 0 || sockets.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sockets_arrive_in_order() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let sockets: Vec<_> = (0..PORTION + 3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        send(&mut ours, &sockets).unwrap();
        ours.write_all(b"line\n").unwrap();
        let addresses = |sockets: &[TcpListener]| sockets.iter().map(|s| s.local_addr().unwrap()).collect::<Vec<_>>();
        assert_eq!(addresses(&receive(&mut theirs).unwrap()), addresses(&sockets));
        let mut rest = [0; 5];
        theirs.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"line\n", "the next line is not consumed");
    }

    #[test]
    fn early_end_of_the_sender_is_an_error() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(&2_u32.to_be_bytes()).unwrap();
        drop(ours);
        assert!(receive(&mut theirs).is_err());
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(receive(&mut theirs).is_err());
    }
}

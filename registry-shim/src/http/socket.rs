//! The accepted TCP connection as hyper sees it, and how it is closed.

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::fate::ConnectionFate;

/// A TCP connection that ends as its [`ConnectionFate`] says.
#[derive(Debug)]
pub struct FatedSocket {
    stream: TcpStream,
    fate: Arc<ConnectionFate>,
}

impl FatedSocket {
    /// Takes over an accepted connection.
    pub fn new(stream: TcpStream, fate: Arc<ConnectionFate>) -> Self {
        Self { stream, fate }
    }
}

impl Drop for FatedSocket {
    fn drop(&mut self) {
        let socket = socket2::SockRef::from(&self.stream);
        if self.fate.must_reset() {
            // With a linger time of zero the kernel discards what is unsent and answers with RST.
            if let Err(error) = socket.set_linger(Some(std::time::Duration::ZERO)) {
                tracing::warn!(%error, "a connection that carried wrong bytes cannot be reset");
            }
            return;
        }
        // The FIN must leave before the socket closes: closing with unread input would send RST instead. The peer may
        // already be gone, which is as good an end.
        let _ = socket.shutdown(Shutdown::Write);
        discard_input(&self.stream);
    }
}

/// Reads away what has already arrived, at most 64 KiB.
fn discard_input(stream: &TcpStream) {
    let mut scratch = [0; 4096];
    for _ in 0..16 {
        match stream.try_read(&mut scratch) {
            Ok(read) if read > 0 => {}
            Ok(_) | Err(_) => return,
        }
    }
}

impl AsyncRead for FatedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for FatedSocket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this when its own buffer is empty, so everything is with the kernel now.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.fate.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

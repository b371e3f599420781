//! Serves one connection with HTTP/1.1, and reports its reads, writes and requests to
//! [`Connection`].

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::Watcher};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower::{Service, ServiceExt as _};

use crate::connections::{Connection, Place};

/// What answers requests: a router in its middleware. Each request is answered by a clone.
pub(crate) trait HttpService:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

/// Serves requests until the client closes the connection, a deadline passes, the place
/// is needed, or `shutdown` and the request in progress is answered.
pub(crate) async fn serve(stream: TcpStream, place: Place, router: impl HttpService, shutdown: Watcher) {
    let connection = &place.connection;
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let in_progress = connection.request();
        let response = router.clone().oneshot(request.map(Body::new));
        async move {
            let response = response.await;
            drop(in_progress);
            response
        }
    });
    let stream = Reported { stream, connection: Arc::clone(connection) };
    let served = shutdown.watch(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let served = async {
        if let Err(error) = served.await {
            tracing::debug!(%error, "connection ended early");
        }
    };
    connection.within_deadlines(served).await;
}

/// A stream whose reads and writes are reported.
struct Reported {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Reported {
    fn report(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if written.as_ref().is_ok_and(|&bytes| bytes > 0) {
            self.connection.sent();
        }
        Poll::Ready(written)
    }
}

impl AsyncRead for Reported {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.connection.received();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Reported {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.report(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts));
        self.report(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

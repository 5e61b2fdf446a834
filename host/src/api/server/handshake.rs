//! The handshake of a TLS connection, within its time. The peer keeps the host waiting meanwhile: it may lose its slot.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::{HTTP_2, Tls};
use crate::access::ClientCertificate;
use crate::model::codes::Code;

/// The first byte of a TLS connection: the type of a handshake record.
const HANDSHAKE: u8 = 22;
/// Time in which a refused peer may read the reason. A connection that is closed with unread bytes is reset, and its last
/// words are lost.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);
/// Most bytes of a refused peer that are read for that.
const LAST_WORDS_BYTES_MAX: u64 = 64 * 1024;

/// The outcome of a handshake that failed, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Time,
    PlainHttp,
    ClientCertificate,
    Other,
}

/// A stream after its handshake.
pub(super) struct Secured<S> {
    pub stream: TlsStream<S>,
    /// The certificate of the client, if it has one.
    pub certificate: Option<ClientCertificate>,
    /// True if both ends chose HTTP/2.
    pub is_http2: bool,
}

/// Makes the handshake over a stream whose first byte was looked at.
pub(super) async fn shake_hands<S>(tls: &Tls, first: u8, mut stream: S) -> Result<Secured<S>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if first != HANDSHAKE {
        if first.is_ascii_alphabetic() {
            let _ = stream.write_all(plain_http_answer().as_bytes()).await;
            let _ = stream.flush().await;
            last_words(&mut stream).await;
            return Err(Failure::PlainHttp);
        }
        return Err(Failure::Other);
    }
    let accept = TlsAcceptor::from(tls.config()).accept(stream).into_fallible();
    match accept.await {
        Ok(stream) => {
            let session = stream.get_ref().1;
            let is_http2 = session.alpn_protocol() == Some(HTTP_2);
            let certificate = session.peer_certificates().and_then(<[_]>::first).map(|der| ClientCertificate::of(der));
            Ok(Secured { stream, certificate, is_http2 })
        }
        Err((error, mut stream)) => {
            last_words(&mut stream).await;
            Err(Failure::of(&error))
        }
    }
}

async fn last_words(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let _ = stream.shutdown().await;
    let read = async {
        let mut left = stream.take(LAST_WORDS_BYTES_MAX);
        tokio::io::copy(&mut left, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LAST_WORDS_TIME, read).await;
}

/// The answer to a client that speaks plain HTTP.
fn plain_http_answer() -> String {
    let code = Code::TlsConnection;
    let detail = "this port speaks HTTPS, and the request is plain HTTP";
    let hint = "call it with https:// in place of http://";
    let title = code.title();
    let body = serde_json::json!({
        "type": format!("/errors/{code}"), "title": title, "status": 400, "detail": detail, "code": code.as_str(),
        "hint": hint, "errors": [],
    });
    let body = format!("{body}\n");
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
}

// === impl Failure ===

impl Failure {
    fn of(error: &io::Error) -> Self {
        use rustls::Error::{InvalidCertificate, NoCertificatesPresented};
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(NoCertificatesPresented | InvalidCertificate(_)) => Self::ClientCertificate,
            _ => Self::Other,
        }
    }

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::PlainHttp => "plain_http",
            Self::ClientCertificate => "client_certificate",
            Self::Other => "other",
        }
    }
}

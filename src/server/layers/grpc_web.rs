//! Translates gRPC-Web to gRPC: it has other content types, and its trailers are the last frame of
//! the response body, so that they work over HTTP/1.1 and reach a script in a browser.
//!
//! Speaks the binary form (`application/grpc-web`, `application/grpc-web+proto`). In that form
//! messages have gRPC's own frames, so only headers and the end of the response are translated, and
//! calls that are not gRPC-Web pay nothing; tonic-web would box the body of each. The base64 form
//! (`application/grpc-web-text`) and CORS are left to proxies.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::Full;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tonic::{body::Body, metadata::GRPC_CONTENT_TYPE};

use super::{
    body::{Answer, Polled, Step, Stepped, bare, wrap},
    media_type,
    passing::Arrived,
    reply,
};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");
/// The flag of the frame that holds the trailers (gRPC's PROTOCOL-WEB).
const TRAILERS: u8 = 0x80;

/// Translates gRPC-Web, where it is enabled.
pub(crate) struct GrpcWeb<S> {
    pub inner: S,
    pub enabled: bool,
}

impl<S, B, A> Service<Arrived<B>> for GrpcWeb<S>
where
    S: Service<Arrived<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Framing, A>>;
    type Error = Infallible;
    type Future = Translating<S::Future>;

    fn call(&self, mut arrived: Arrived<B>) -> Self::Future {
        let headers = arrived.request.headers_mut();
        let is_web = self.enabled && is_web(headers);
        if is_web {
            headers.insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
            arrived.web = true;
        }
        Translating { inner: self.inner.call(arrived), is_web }
    }
}

/// The binary form, with protobuf, the only message encoding that the services know.
fn is_web(headers: &HeaderMap) -> bool {
    media_type::is(headers, ["application/grpc-web", "application/grpc-web+proto"])
}

pin_project! {
    /// A call whose response may have to be translated.
    pub(crate) struct Translating<F> {
        #[pin]
        inner: F,
        is_web: bool,
    }
}

impl<F, A> Future for Translating<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Framing, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(if *this.is_web && response.status() == StatusCode::OK {
            translated(response)
        } else {
            bare(response)
        }))
    }
}

fn translated<A: Answer>(mut response: Response<A>) -> Response<Stepped<Framing, A>> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    let status = status(headers);
    if status.is_empty() {
        return wrap(response, Framing);
    }
    // A status is always in the frame: a script of another origin sees only the headers that CORS
    // exposes by name.
    bare(response.map(|_| A::from(Body::new(Full::new(frame(&status))))))
}

/// Takes the status out of the headers of a response that is only a status.
fn status(headers: &mut HeaderMap) -> HeaderMap {
    let status = [reply::GRPC_STATUS, reply::GRPC_MESSAGE, reply::GRPC_DETAILS];
    let names = status.into_iter().chain([reply::REFUSED_CALL]);
    names.filter_map(|name| Some((name.clone(), headers.remove(name)?))).collect()
}

/// Puts the trailers into a frame of the response body.
pub(crate) struct Framing;

impl Step for Framing {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        Poll::Ready(ready!(body.poll_frame(cx)).map(|polled| {
            polled.map(|polled| match polled.into_trailers() {
                Ok(trailers) => Frame::data(frame(&trailers)),
                Err(data) => data,
            })
        }))
    }
}

/// Trailers as HTTP/1.1 would write headers, after a flag and a length.
fn frame(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers {
        lines.put_slice(name.as_str().as_bytes());
        lines.put_slice(b": ");
        lines.put_slice(value.as_bytes());
        lines.put_slice(b"\r\n");
    }
    let mut frame = BytesMut::with_capacity(5 + lines.len());
    frame.put_u8(TRAILERS);
    // The size limit of a status is far below the 4 GiB that fit.
    frame.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    frame.put(lines);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_binary_form_is_translated() {
        for (value, expected) in [
            ("application/grpc-web", true),
            ("application/grpc-web+proto", true),
            ("application/grpc-web+proto; charset=utf-8", true),
            ("Application/gRPC-Web+Proto ;charset=utf-8", true),
            ("application/grpc-web-text", false),
            ("application/grpc-web+json", false),
            ("application/grpc+proto", false),
            ("text/plain", false),
        ] {
            let value = HeaderValue::from_static(value);
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value.clone())]);
            assert_eq!(is_web(&headers), expected, "{value:?}");
        }
        assert!(!is_web(&HeaderMap::new()));
    }

    #[test]
    fn trailers_are_lines_after_their_length() {
        let mut trailers = HeaderMap::new();
        trailers.insert(reply::GRPC_STATUS, HeaderValue::from_static("5"));
        trailers.append("x", HeaderValue::from_static("1"));
        trailers.append("x", HeaderValue::from_static("2"));
        let frame = frame(&trailers);
        assert_eq!(frame[..5], [0x80, 0, 0, 0, 28]);
        assert_eq!(frame[5..], *b"grpc-status: 5\r\nx: 1\r\nx: 2\r\n");
    }
}

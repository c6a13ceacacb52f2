//! Calls of any method by its path, with messages as bytes.

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming},
    transport::Channel,
};

/// Passes messages on as they are.
#[derive(Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// Calls a method, and waits for its answer, or for the first of them.
pub async fn call(
    channel: Channel,
    path: &str,
    request: Request<Vec<u8>>,
) -> Result<Vec<u8>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(64 << 20);
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path: PathAndQuery = path.parse().unwrap();
    let answers: Response<Streaming<Vec<u8>>> = grpc.server_streaming(request, path, Bytes).await?;
    Ok(answers.into_inner().message().await?.unwrap_or_default())
}

//! A small HTTP/1.1 server, which can be told to cut connections wherever it hurts.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// With its query.
    pub(crate) path: String,
    /// By their lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What becomes of one.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    pub(crate) fn empty() -> Self {
        Self { status: 204, headers: Vec::new(), body: Vec::new() }
    }
}

/// How an exchange goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends before the service has seen the request.
    CutBefore,
    /// The service has done it, and the connection ends before the answer.
    CutAfter,
    /// The connection ends in the middle of the answer.
    CutInside,
    /// The service sees the request twice, and answers the second.
    Doubled,
    /// The service cannot take it now.
    Busy,
}

/// Serves until the token is cancelled.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>, stop: CancellationToken) {
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (service, stop) = (Arc::clone(&service), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    // The other side may go whenever it likes.
                    _ = converse(stream, &service) => {}
                }
            });
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept => {}
    }
}

async fn converse(stream: TcpStream, service: &Service) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(request) = read(&mut reader).await? {
        let fault = service.fault_for(&request);
        let response = match fault {
            Some(Fault::CutBefore) => return Ok(()),
            Some(Fault::Busy) => Response {
                headers: vec![("Retry-After", "0".to_owned())],
                ..Response::json(503, &serde_json::json!({ "error": "busy" }))
            },
            Some(Fault::Doubled) => {
                service.answer(request.clone()).await;
                service.answer(request).await
            }
            Some(Fault::CutAfter | Fault::CutInside) | None => service.answer(request).await,
        };
        let mut bytes = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", response.status, response.body.len());
        for (name, value) in &response.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        let bytes = [bytes.as_bytes(), &response.body].concat();
        match fault {
            Some(Fault::CutAfter) => return Ok(()),
            Some(Fault::CutInside) => return writer.write_all(&bytes[..bytes.len() / 2]).await,
            _ => writer.write_all(&bytes).await?,
        }
    }
    Ok(())
}

async fn read(reader: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("POST"), "everything is a POST: {line}");
    let path = words.next().unwrap().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(Some(Request { path, headers, body }))
}

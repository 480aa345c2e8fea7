//! A client made of a bare socket: it can send half a request, stop reading, or go away, which a good client cannot.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::PATIENCE;

/// A connection on which nothing is sent that the test did not ask for.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// The head of an answer.
pub struct Head {
    pub status: u16,
    pub length: usize,
    /// `Upload-Offset`
    pub offset: Option<usize>,
}

/// A whole answer.
pub struct Response {
    pub status: u16,
    /// `Upload-Offset`
    pub offset: Option<usize>,
    pub body: Vec<u8>,
}

/// A user with an access token. Each request has its own connection.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub token: String,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The bare socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub fn head(&mut self) -> io::Result<Head> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status =
            status.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, format!("no answer: {line}")))?;
        let mut head = Head { status, length: 0, offset: None };
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    head.length = value.parse().map_err(io::Error::other)?;
                }
                Some((name, value)) if name.eq_ignore_ascii_case("upload-offset") => head.offset = value.parse().ok(),
                Some(_) => {}
                None => return Ok(head),
            }
        }
    }

    /// Exactly that many bytes of a body; an error if it ends before.
    pub fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    /// What comes until the connection ends.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end like any other: what came before it is kept.
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    pub fn response(&mut self) -> io::Result<Response> {
        let head = self.head()?;
        Ok(Response { status: head.status, offset: head.offset, body: self.read(head.length)? })
    }
}

/// Whether the peer closes the connection in that time, without sending anything more.
pub fn closes_within(connection: &Connection, time: Duration) -> bool {
    let mut socket = connection.socket();
    socket.set_read_timeout(Some(time.max(Duration::from_millis(1)))).expect("the socket takes a time-out");
    match socket.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

impl Response {
    /// A field of the JSON body.
    pub fn field(&self, name: &str) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).expect("the body is JSON");
        body[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {body}")).to_owned()
    }

    /// The MXC URI of an upload.
    pub fn content_uri(&self) -> String {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.field("content_uri")
    }
}

impl Client {
    pub fn connect(&self) -> Connection {
        Connection::open(self.address).expect("the server accepts connections")
    }

    /// The head of an upload of that many bytes.
    pub fn upload_head(&self, filename: &str, length: usize) -> String {
        format!(
            "POST /_matrix/media/v3/upload?filename={filename} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n",
            self.token
        )
    }

    /// The head of a request for the URI of an upload to a reserved URI; `headers` end their lines.
    pub fn resource_head(&self, method: &str, content_uri: &str, headers: &str) -> String {
        let path = content_uri.strip_prefix("mxc://").expect("it is an MXC URI");
        format!(
            "{method} /_matrix/media/v3/upload/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             {headers}\r\n",
            self.token
        )
    }

    /// The head of a `PUT` of that many bytes.
    pub fn put_head(&self, content_uri: &str, length: usize) -> String {
        self.resource_head("PUT", content_uri, &format!("Content-Length: {length}\r\n"))
    }

    /// The head of a `PUT` of that many bytes that can be continued.
    pub fn resumable_head(&self, content_uri: &str, length: usize) -> String {
        self.resource_head("PUT", content_uri, &format!("Upload-Complete: ?1\r\nContent-Length: {length}\r\n"))
    }

    /// The head of a `PATCH` with the last bytes of an upload: that many, from `offset` on.
    pub fn patch_head(&self, content_uri: &str, offset: usize, length: usize) -> String {
        let headers = format!(
            "Upload-Complete: ?1\r\nUpload-Offset: {offset}\r\nContent-Type: application/partial-upload\r\n\
             Content-Length: {length}\r\n"
        );
        self.resource_head("PATCH", content_uri, &headers)
    }

    /// A reserved URI.
    pub fn create(&self) -> io::Result<String> {
        let mut connection = Connection::open(self.address)?;
        let head = format!(
            "POST /_matrix/media/v1/create HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Length: 0\r\n\r\n",
            self.token
        );
        connection.send(head.as_bytes())?;
        Ok(connection.response()?.content_uri())
    }

    pub fn put(&self, content_uri: &str, body: &[u8]) -> io::Result<Response> {
        let mut connection = Connection::open(self.address)?;
        connection.send(self.put_head(content_uri, body.len()).as_bytes())?;
        connection.send(body)?;
        connection.response()
    }

    /// Sends the last bytes of an upload.
    pub fn patch(&self, content_uri: &str, offset: usize, rest: &[u8]) -> io::Result<Response> {
        let mut connection = Connection::open(self.address)?;
        connection.send(self.patch_head(content_uri, offset, rest.len()).as_bytes())?;
        connection.send(rest)?;
        connection.response()
    }

    /// How far an upload has come: the status, and the offset where there is one.
    pub fn progress(&self, content_uri: &str) -> io::Result<(u16, Option<usize>)> {
        let mut connection = Connection::open(self.address)?;
        connection.send(self.resource_head("GET", content_uri, "").as_bytes())?;
        let answer = connection.response()?;
        Ok((answer.status, answer.offset))
    }

    /// Uploads ephemeral media (MSC4425).
    pub fn upload_ephemeral(&self, body: &[u8]) -> io::Result<String> {
        let mut connection = Connection::open(self.address)?;
        let head = format!(
            "POST /_matrix/media/v3/upload?org.matrix.msc4425.ephemeral=true HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        connection.send(head.as_bytes())?;
        connection.send(body)?;
        Ok(connection.response()?.content_uri())
    }

    /// Deletes ephemeral media.
    pub fn delete(&self, content_uri: &str) -> io::Result<Response> {
        let path = content_uri.strip_prefix("mxc://").expect("it is an MXC URI");
        let mut connection = Connection::open(self.address)?;
        let head = format!(
            "DELETE /_matrix/client/unstable/org.matrix.msc4425/{path} HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {}\r\n\r\n",
            self.token
        );
        connection.send(head.as_bytes())?;
        connection.response()
    }

    pub fn download_head(&self, content_uri: &str) -> String {
        let path = content_uri.strip_prefix("mxc://").expect("it is an MXC URI");
        format!(
            "GET /_matrix/client/v1/media/download/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            self.token
        )
    }

    pub fn upload(&self, filename: &str, body: &[u8]) -> io::Result<Response> {
        let mut connection = Connection::open(self.address)?;
        connection.send(self.upload_head(filename, body.len()).as_bytes())?;
        connection.send(body)?;
        connection.response()
    }

    pub fn download(&self, content_uri: &str) -> io::Result<Response> {
        let mut connection = Connection::open(self.address)?;
        connection.send(self.download_head(content_uri).as_bytes())?;
        connection.response()
    }

    /// Asserts that a download gives these bytes.
    pub fn assert_whole(&self, content_uri: &str, body: &[u8]) {
        let response = self.download(content_uri).unwrap_or_else(|error| panic!("{content_uri}: {error}"));
        assert_eq!(response.status, 200, "{content_uri}: {}", String::from_utf8_lossy(&response.body));
        // Without assert_eq: nobody wants to read megabytes.
        assert!(response.body == body, "{content_uri}: {} bytes differ from what was uploaded", response.body.len());
    }
}

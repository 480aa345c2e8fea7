//! A name server, over UDP, that knows what it is told.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, SRV},
    },
};
use tokio::{net::UdpSocket, task::JoinHandle};

type Records = Arc<Mutex<HashMap<(Name, RecordType), Vec<RData>>>>;

/// A name server. It stops when it is dropped.
pub struct Dns {
    address: SocketAddr,
    records: Records,
    questions: Arc<Mutex<Vec<(String, RecordType)>>>,
    task: JoinHandle<()>,
}

impl Dns {
    /// Starts one that knows nothing.
    pub async fn start(address: IpAddr) -> Self {
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
        let (records, questions) = (Records::default(), Arc::new(Mutex::new(Vec::new())));
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(serve(socket, records.clone(), questions.clone()));
        Self { address, records, questions, task }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an address of a host.
    pub fn host(&self, host: &str, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.add(host, RecordType::A, RData::A(A(v4))),
            IpAddr::V6(v6) => self.add(host, RecordType::AAAA, RData::AAAA(AAAA(v6))),
        }
    }

    /// Makes a name an alias.
    pub fn alias(&self, alias: &str, host: &str) {
        for record_type in [RecordType::A, RecordType::AAAA] {
            self.add(alias, record_type, RData::CNAME(CNAME(name(host))));
        }
    }

    /// Adds an SRV record.
    pub fn service(&self, service: &str, priority: u16, weight: u16, host: &str, port: u16) {
        self.add(service, RecordType::SRV, RData::SRV(SRV::new(priority, weight, port, name(host))));
    }

    /// Each question that came, in order.
    pub fn questions(&self) -> Vec<(String, RecordType)> {
        self.questions.lock().unwrap().clone()
    }

    fn add(&self, of: &str, record_type: RecordType, record: RData) {
        self.records.lock().unwrap().entry((name(of), record_type)).or_default().push(record);
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, records: Records, questions: Arc<Mutex<Vec<(String, RecordType)>>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let query = question.queries[0].clone();
        let (name, record_type) = (query.name().to_lowercase(), query.query_type());
        questions.lock().unwrap().push((name.to_ascii(), record_type));
        let mut answer = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query);
        let known = records.lock().unwrap().clone();
        if !known.keys().any(|(known, _)| *known == name) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.add_answers(found(&known, name, record_type));
        // Who asked may be gone.
        let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
    }
}

/// The records of a name, and of what it is an alias of.
fn found(known: &HashMap<(Name, RecordType), Vec<RData>>, mut name: Name, record_type: RecordType) -> Vec<Record> {
    let mut answers = Vec::new();
    while let Some(records) = known.get(&(name.clone(), record_type)) {
        answers.extend(records.iter().map(|record| Record::from_rdata(name.clone(), 3600, record.clone())));
        match records.first() {
            Some(RData::CNAME(CNAME(host))) => name = host.clone(),
            _ => break,
        }
    }
    answers
}

fn name(host: &str) -> Name {
    let mut name = Name::from_ascii(host).unwrap().to_lowercase();
    name.set_fqdn(true);
    name
}

//! A network between two servers that are on one machine: a TCP proxy that passes bytes on as late, and no faster, than
//! the link would.
//!
//! Namespaces with `tc` would shape packets, but take root and a kernel with netem, and servers that find each other by
//! names such as `localhost:20001` would not look into them. A proxy works everywhere. It has no losses and no slow
//! start, so a connection is at full speed from its first byte: that spares every server alike.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::load::float;

/// Bytes that are sent at once. On a link of 50 Mbit/s they take 1.3 ms.
const PIECE: usize = 8 * 1024;
/// Pieces that may be on their way on one connection; more than any delay and speed used here have.
const IN_FLIGHT: usize = 256;
/// What a link has not been given for so long it may be given at once: threads wake up late, and a link that lost what
/// it could have carried meanwhile would be slower than it says.
const LATE: Duration = Duration::from_millis(5);

/// What a link can do, in each direction, for all its connections together.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    /// How long a byte is on its way.
    pub delay: Duration,
    /// How much goes in.
    pub bits_per_second: u64,
}

/// A link to one server, listening on a port of loopback until it is dropped.
pub struct Link {
    address: SocketAddr,
    back: Arc<Direction>,
    is_closed: Arc<AtomicBool>,
}

impl Link {
    /// Opens a link; whoever connects to its address reaches `target`, which need not listen yet.
    ///
    /// # Errors
    /// When no port is free.
    pub fn to(target: SocketAddr, speed: Speed) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (there, back) = (Arc::new(Direction::new(speed)), Arc::new(Direction::new(speed)));
        let is_closed = Arc::new(AtomicBool::new(false));
        let link = Self { address, back: Arc::clone(&back), is_closed: Arc::clone(&is_closed) };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_closed.load(Ordering::Relaxed) {
                    return;
                }
                let (there, back) = (Arc::clone(&there), Arc::clone(&back));
                std::thread::spawn(move || {
                    // An end that is gone closes the other one; there is nobody to tell why.
                    let _ = connect(client, target, speed, there, &back);
                });
            }
        });
        Ok(link)
    }

    /// The port of loopback that leads into it.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many bytes the server behind it has sent so far.
    pub fn carried(&self) -> u64 {
        self.back.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(client: TcpStream, target: SocketAddr, speed: Speed, there: Arc<Direction>, back: &Direction) -> Result<()> {
    // The client was told at once that it is connected; over the link that takes a round trip.
    std::thread::sleep(speed.delay * 2);
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = (client.try_clone()?, client);
    let (from_server, to_server) = (server.try_clone()?, server);
    std::thread::spawn(move || there.carry(from_client, to_server));
    back.carry(from_server, to_client);
    Ok(())
}

/// One of the two directions.
struct Direction {
    speed: Speed,
    /// When the last byte that was given to it has gone in.
    is_free: Mutex<Instant>,
    carried: AtomicU64,
}

impl Direction {
    fn new(speed: Speed) -> Self {
        Self { speed, is_free: Mutex::new(Instant::now()), carried: AtomicU64::new(0) }
    }

    /// Carries what one end sends to the other until either is closed.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let (sent, arriving) = mpsc::sync_channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
        let delivery = std::thread::spawn(move || {
            for (arrives, piece) in arriving {
                std::thread::sleep(arrives.saturating_duration_since(Instant::now()));
                if to.write_all(&piece).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        let mut piece = [0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let gone_in = self.goes_in(length, Instant::now());
            std::thread::sleep(gone_in.saturating_duration_since(Instant::now()));
            self.carried.fetch_add(length as u64, Ordering::Relaxed);
            if sent.send((gone_in + self.speed.delay, piece[..length].to_vec())).is_err() {
                // The other end is gone; this one would wait for it for ever.
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
        }
        drop(sent);
        let _ = delivery.join();
    }

    /// When so many bytes that are there now have gone in, behind those that were there before.
    fn goes_in(&self, length: usize, now: Instant) -> Instant {
        let taken = Duration::from_secs_f64(float(length as u64 * 8) / float(self.speed.bits_per_second));
        let mut is_free = self.is_free.lock().expect("nothing panics while it is held");
        let earliest = now.checked_sub(LATE).expect("the clock began long before");
        *is_free = (*is_free).max(earliest) + taken;
        // Nothing has gone in before it was there.
        (*is_free).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends so many bytes to whoever connects, and nothing else.
    fn sender_of(length: usize) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || stream.write_all(&vec![7; length]).unwrap());
            }
        });
        address
    }

    fn receive(link: &Link) -> Vec<u8> {
        let mut received = Vec::new();
        TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).unwrap().read_to_end(&mut received).unwrap();
        received
    }

    #[test]
    fn the_first_byte_takes_a_round_trip_to_connect_and_one_delay_more() {
        let speed = Speed { delay: Duration::from_millis(30), bits_per_second: 1_000_000_000 };
        let link = Link::to(sender_of(1), speed).unwrap();

        let began = Instant::now();
        let received = receive(&link);

        assert_eq!(received, [7]);
        assert!(began.elapsed() >= speed.delay * 3, "{:?}", began.elapsed());
    }

    #[test]
    fn two_connections_share_the_speed_of_the_link() {
        let speed = Speed { delay: Duration::ZERO, bits_per_second: 8_000_000 };
        let link = Link::to(sender_of(100_000), speed).unwrap();

        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(receive(&link), vec![7; 100_000]));
            }
        });

        assert!(began.elapsed() + LATE >= Duration::from_millis(200), "{:?}", began.elapsed());
        assert_eq!(link.carried(), 200_000);
    }
}

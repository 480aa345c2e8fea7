//! What only PostgreSQL has to show: transactions that meet, connections that die, and how often it is asked.

mod away;
mod connecting;
mod leases;
mod media;
mod moving;
mod queries;
mod racing;
mod wire;

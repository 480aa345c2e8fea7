//! The program as an operator runs it: arguments in, text and an exit code out.

mod appservice;
mod blobs;
mod config;
mod deploy;
mod doctor;
mod installation;
mod legacy;
mod serve;
mod token;
mod user;

//! Tools that only the scenarios use: a client fleet with an event generator and a delivery
//! checker, a raw socket, stand-ins for a load balancer, an issuer of tokens and a trace collector,
//! drivers of Chromium, Node.js and Prometheus, and the files that a deployment consists of.

pub mod browser;
pub mod client_fleet;
pub mod collector;
pub mod delivery_checker;
pub mod deployment;
pub mod event_generator;
pub mod issuer;
pub mod load_balancer;
pub mod node;
pub mod prometheus;
pub mod raw_socket;
pub mod source;

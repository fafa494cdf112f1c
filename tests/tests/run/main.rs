//! `headcount run` as a stranger meets it: lines in, output out, killed and resumed.

mod ends;
mod heavy;
mod interrupted;
mod output;

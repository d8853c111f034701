//! Rows that a person has edited: no call panics, an error names the session and the column, and nobody has to wait
//! for the row to be corrected.

mod beside;
mod cutoffs;
mod damage;
mod during;
mod ends;
mod moments;
mod readable;
mod unreadable;
mod values;

//! Log-ins as people make them: of several requests, with a double click, with a lost answer, and while the
//! database's clock is set back.

mod clock;
mod double_click;
mod lost;
mod several;

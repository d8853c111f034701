//! A drawing with text and bars that suits a light page and a dark one.

use std::fmt::{self, Write};

/// Colours by their meaning, so that the style sheet can distinguish light and dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Text,
    Faint,
    /// Sessile's.
    Ours,
    OursPale,
    /// All other stores'.
    Theirs,
    TheirsPale,
    /// Stores that are not SQL databases.
    Other,
    OtherPale,
}

impl Ink {
    fn class(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Faint => "faint",
            Self::Ours => "ours",
            Self::OursPale => "ours-pale",
            Self::Theirs => "theirs",
            Self::TheirsPale => "theirs-pale",
            Self::Other => "other",
            Self::OtherPale => "other-pale",
        }
    }
}

const STYLE: &str = "\
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .title { font-weight: 600; font-size: 15px }
    .faint { fill: #656d76 } line { stroke: #d1d9e0 }
    .ours { fill: #0a7d5a } .ours-pale { fill: #7cc4ab }
    .theirs { fill: #8c959f } .theirs-pale { fill: #c8ced5 }
    .other { fill: #b35900 } .other-pale { fill: #e8b98a }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 } .faint { fill: #9198a1 } line { stroke: #3d444d }
        .ours { fill: #3fb68b } .ours-pale { fill: #1f6b51 }
        .theirs { fill: #79828c } .theirs-pale { fill: #484f58 }
        .other { fill: #db8b3a } .other-pale { fill: #7d4c1a }
    }
";

#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    End,
}

#[derive(Debug)]
pub(super) struct Svg {
    body: String,
    width: f64,
    height: f64,
    title: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        Self { body: String::new(), width, height, title: escaped(title) }
    }

    pub(super) fn heading(&mut self, x: f64, y: f64, text: &str) {
        self.put(format_args!(
            "<text class=\"title\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(text)
        ));
    }

    pub(super) fn text(&mut self, x: f64, y: f64, ink: Ink, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::End => "end",
        };
        let (class, text) = (ink.class(), escaped(text));
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">\
             {text}</text>"
        ));
    }

    pub(super) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, ink: Ink) {
        let class = ink.class();
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\" rx=\"2\"/>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    fn put(&mut self, element: fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes all that is written");
    }

    pub(super) fn finish(self) -> String {
        let Self { body, width, height, title } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n{body}</svg>\n"
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

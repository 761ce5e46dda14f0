//! Colours in light and in dark. Plots are drawn in the light ones; a style sheet in the SVG replaces them where it is dark.

use plotters::style::RGBColor;

/// Text and axes.
pub(super) const INK: Pair = Pair { light: RGBColor(0x1f, 0x23, 0x28), dark: RGBColor(0xe6, 0xed, 0xf3) };
/// What is said in passing.
pub(super) const FAINT: Pair = Pair { light: RGBColor(0x65, 0x6d, 0x76), dark: RGBColor(0x8d, 0x96, 0xa0) };
/// Lines behind the plots.
pub(super) const GRID: Pair = Pair { light: RGBColor(0xe1, 0xe4, 0xe8), dark: RGBColor(0x2d, 0x33, 0x3b) };
/// Behind everything.
pub(super) const PAPER: Pair = Pair { light: RGBColor(0xff, 0xff, 0xff), dark: RGBColor(0x0d, 0x11, 0x17) };
/// One for each measurement; then from the beginning. Told apart by those who see fewer colours, too.
const SERIES: [Pair; 6] = [
    Pair { light: RGBColor(0x1f, 0x6f, 0xb4), dark: RGBColor(0x58, 0xa6, 0xe8) },
    Pair { light: RGBColor(0xc4, 0x5a, 0x11), dark: RGBColor(0xf0, 0x8c, 0x3c) },
    Pair { light: RGBColor(0x2a, 0x86, 0x5c), dark: RGBColor(0x4f, 0xc0, 0x8d) },
    Pair { light: RGBColor(0x8a, 0x45, 0x97), dark: RGBColor(0xc3, 0x86, 0xd1) },
    Pair { light: RGBColor(0x7d, 0x6b, 0x0b), dark: RGBColor(0xd0, 0xb8, 0x3a) },
    Pair { light: RGBColor(0xb0, 0x2a, 0x4c), dark: RGBColor(0xf0, 0x6c, 0x8c) },
];

/// A colour in light and in dark.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) light: RGBColor,
    pub(super) dark: RGBColor,
}

/// The colour of the measurement in this place.
pub(super) fn series(place: usize) -> RGBColor {
    SERIES[place % SERIES.len()].light
}

/// As SVG and CSS write it.
pub(super) fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// What the SVG needs so that it can be read in the dark.
pub(super) fn style_sheet() -> String {
    let pairs = [INK, FAINT, GRID, PAPER].into_iter().chain(SERIES);
    let rules: String = pairs
        .flat_map(|pair| {
            let (light, dark) = (hex(pair.light), hex(pair.dark));
            ["fill", "stroke"].map(|what| format!("[{what}=\"{light}\"]{{{what}:{dark}}}"))
        })
        .collect();
    format!("<style>@media (prefers-color-scheme: dark){{{rules}}}</style>\n")
}

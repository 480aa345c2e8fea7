//! From a source's size and a request to the part of the source that is shown and the size it gets.
//!
//! Everything is in the source's stored orientation: where EXIF turns the picture by a quarter, the
//! request is turned instead, so that only the small result has to be rotated.

use crate::orientation::Orientation;
use crate::request::{Dimensions, Method, Request};

/// A part of a bitmap, in its pixels; edges may lie between pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Region {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Region {
    fn whole(size: Dimensions) -> Self {
        Self::centred(size, f64::from(size.width()), f64::from(size.height()))
    }

    fn centred(size: Dimensions, width: f64, height: f64) -> Self {
        Self {
            left: (f64::from(size.width()) - width) / 2.0,
            top: (f64::from(size.height()) - height) / 2.0,
            width,
            height,
        }
    }

    /// Whether it is that many pixels wide and high, but for what floats cannot hold.
    pub fn has_size(&self, size: Dimensions) -> bool {
        let is = |length: f64, pixels: u32| (length - f64::from(pixels)).abs() < 1e-6;
        is(self.width, size.width()) && is(self.height, size.height())
    }

    /// The same part of a bitmap that was reduced by these factors.
    pub fn divided(&self, horizontally: f64, vertically: f64) -> Self {
        Self {
            left: self.left / horizontally,
            top: self.top / vertically,
            width: self.width / horizontally,
            height: self.height / vertically,
        }
    }
}

/// What to cut out of the source, and how large to make it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    pub source: Dimensions,
    pub region: Region,
    pub target: Dimensions,
}

impl Plan {
    /// `source` is the stored size, before `orientation` is applied.
    pub fn new(source: Dimensions, orientation: Orientation, request: &Request) -> Self {
        let wanted = if orientation.transposes() { request.size.transposed() } else { request.size };
        match request.method {
            Method::Scale => Self::scale(source, wanted),
            Method::Crop => Self::crop(source, wanted),
        }
    }

    fn whole(source: Dimensions, target: Dimensions) -> Self {
        Self { source, region: Region::whole(source), target }
    }

    fn scale(source: Dimensions, wanted: Dimensions) -> Self {
        let (width, height) = (source.width(), source.height());
        if width <= wanted.width() || height <= wanted.height() {
            return Self::whole(source, source);
        }
        let target = if is_wider(source, wanted) {
            Dimensions::at_least_one(proportion(width, wanted.height(), height), wanted.height())
        } else {
            Dimensions::at_least_one(wanted.width(), proportion(height, wanted.width(), width))
        };
        Self::whole(source, target)
    }

    fn crop(source: Dimensions, wanted: Dimensions) -> Self {
        let (width, height) = (source.width(), source.height());
        if width <= wanted.width() && height <= wanted.height() {
            return Self::whole(source, source);
        }
        if width >= wanted.width() && height >= wanted.height() {
            let aspect = f64::from(wanted.width()) / f64::from(wanted.height());
            let (width, height) = (f64::from(width), f64::from(height));
            let region = if is_wider(source, wanted) {
                Region::centred(source, (height * aspect).min(width), height)
            } else {
                Region::centred(source, width, (width / aspect).min(height))
            };
            return Self { source, region, target: wanted };
        }
        // Too small to be reduced: cut whole pixels, so that none has to be made up.
        let target = if is_wider(source, wanted) {
            let width = proportion(wanted.width(), height, wanted.height()).min(width);
            Dimensions::at_least_one(width, height)
        } else {
            let height = proportion(wanted.height(), width, wanted.width()).min(height);
            Dimensions::at_least_one(width, height)
        };
        Self {
            source,
            region: Region {
                left: f64::from((width - target.width()) / 2),
                top: f64::from((height - target.height()) / 2),
                width: f64::from(target.width()),
                height: f64::from(target.height()),
            },
            target,
        }
    }

    /// Whether the result shows the whole source, pixel for pixel.
    pub fn is_whole_at_own_size(&self) -> bool {
        self.target == self.source
    }

    /// The largest whole factors by which the source can be reduced before it is smaller than `margin`
    /// times the target, horizontally and vertically. At least 1.
    pub fn reduction(&self, margin: f64) -> (u32, u32) {
        let factor = |from: f64, to: u32| whole(from / (margin * f64::from(to)));
        (factor(self.region.width, self.target.width()).max(1), factor(self.region.height, self.target.height()).max(1))
    }

    /// Bytes that resizing and encoding may take beyond the decoded bitmap, with four channels.
    pub fn memory(&self) -> u64 {
        self.target.pixels() * 4 * 4
    }
}

/// Whether `size` is relatively wider than `than`.
fn is_wider(size: Dimensions, than: Dimensions) -> bool {
    u64::from(size.width()) * u64::from(than.height()) > u64::from(than.width()) * u64::from(size.height())
}

/// `value × numerator ÷ denominator`, to the nearest.
fn proportion(value: u32, numerator: u32, denominator: u32) -> u32 {
    let (value, numerator, denominator) = (u64::from(value), u64::from(numerator), u64::from(denominator));
    u32::try_from((value * numerator + denominator / 2) / denominator).unwrap_or(u32::MAX)
}

/// The whole part of a positive number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cut at the bounds of the integer, which is what is wanted here"
)]
pub(crate) fn whole(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> Dimensions {
        Dimensions::new(width, height).unwrap()
    }

    fn target(source: (u32, u32), wanted: (u32, u32), method: Method) -> (u32, u32) {
        let request = Request { size: size(wanted.0, wanted.1), method };
        let plan = Plan::new(size(source.0, source.1), Orientation::UPRIGHT, &request);
        (plan.target.width(), plan.target.height())
    }

    #[test]
    fn scale_covers_the_requested_size_and_never_enlarges() {
        for (source, wanted, expected) in [
            ((4000, 3000), (320, 240), (320, 240)),
            ((4000, 3000), (320, 320), (427, 320)),
            ((3000, 4000), (320, 240), (320, 427)),
            ((4000, 3000), (4000, 3000), (4000, 3000)),
            ((4000, 3000), (3999, 1), (3999, 2999)),
            ((320, 3000), (320, 240), (320, 3000)),
            ((100, 3000), (320, 240), (100, 3000)),
            ((10, 10), (320, 240), (10, 10)),
            ((20000, 250), (320, 240), (19200, 240)),
        ] {
            assert_eq!(target(source, wanted, Method::Scale), expected, "{source:?}");
        }
    }

    #[test]
    fn crop_has_the_requested_aspect_and_never_enlarges() {
        for (source, wanted, expected) in [
            ((4000, 3000), (96, 96), (96, 96)),
            ((4000, 3000), (320, 240), (320, 240)),
            ((4000, 3000), (1, 3000), (1, 3000)),
            ((100, 1000), (200, 200), (100, 100)),
            ((1000, 100), (200, 200), (100, 100)),
            ((1000, 100), (200, 100), (200, 100)),
            ((100, 80), (200, 200), (100, 80)),
            ((200, 200), (200, 200), (200, 200)),
            ((4000, 3000), (1, 10000), (1, 3000)),
        ] {
            assert_eq!(target(source, wanted, Method::Crop), expected, "{source:?}");
        }
    }

    #[test]
    fn a_crop_is_taken_from_the_middle() {
        let request = Request { size: size(96, 96), method: Method::Crop };

        let plan = Plan::new(size(4000, 3000), Orientation::UPRIGHT, &request);

        let expected = Region { left: 500.0, top: 0.0, width: 3000.0, height: 3000.0 };
        assert_eq!(plan.region, expected);
    }

    #[test]
    fn a_request_is_turned_for_a_source_that_lies_on_its_side() {
        let request = Request { size: size(30, 40), method: Method::Crop };

        let plan = Plan::new(size(400, 300), Orientation::from_exif_value(6), &request);

        assert_eq!(plan.target, size(40, 30));
    }
}

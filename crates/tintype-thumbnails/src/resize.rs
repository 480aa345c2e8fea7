//! From the decoded, perhaps already reduced, bitmap to the size that is wanted.
//!
//! Lanczos3, which keeps detail without ringing at these ratios; alpha is multiplied in before and divided
//! out after, so that transparent pixels lend no colour to their neighbours.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::ThumbnailError;
use crate::bitmap::{Bitmap, Layout};
use crate::plan::{Region, whole};
use crate::request::Dimensions;

/// `region` of `bitmap`, at `target` size.
pub(crate) fn resize(bitmap: Bitmap, region: &Region, target: Dimensions) -> Result<Bitmap, ThumbnailError> {
    if region.has_size(target) {
        return Ok(cut(bitmap, region, target));
    }
    let pixel_type = match bitmap.layout {
        Layout::Gray => PixelType::U8,
        Layout::GrayAlpha => PixelType::U8x2,
        Layout::Rgb => PixelType::U8x3,
        Layout::Rgba | Layout::Cmyk => PixelType::U8x4,
    };
    let source =
        ImageRef::new(bitmap.width, bitmap.height, &bitmap.samples, pixel_type).map_err(ThumbnailError::malformed)?;
    let mut result = Image::new(target.width(), target.height(), pixel_type);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .use_alpha(bitmap.layout.has_alpha())
        .crop(region.left, region.top, region.width, region.height);
    Resizer::new().resize(&source, &mut result, &options).map_err(ThumbnailError::malformed)?;
    Ok(Bitmap { width: target.width(), height: target.height(), layout: bitmap.layout, samples: result.into_vec() })
}

/// `region` of `bitmap`, whose edges are whole numbers, pixel for pixel.
fn cut(mut bitmap: Bitmap, region: &Region, target: Dimensions) -> Bitmap {
    if (bitmap.width, bitmap.height) == (target.width(), target.height()) {
        return bitmap;
    }
    let channels = bitmap.layout.channels();
    let left = whole(region.left) as usize * channels;
    let length = target.width() as usize * channels;
    bitmap.samples = bitmap
        .samples
        .chunks_exact(bitmap.width as usize * channels)
        .skip(whole(region.top) as usize)
        .take(target.height() as usize)
        .flat_map(|row| &row[left..left + length])
        .copied()
        .collect();
    bitmap.width = target.width();
    bitmap.height = target.height();
    bitmap
}

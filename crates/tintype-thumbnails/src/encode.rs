//! The bytes of a thumbnail.
//!
//! PNG where the source has alpha or is of a kind made for drawings and screenshots (PNG, GIF), JPEG for
//! photographs. Other formats would be smaller, but these two are what every client shows.

use jpeg_encoder::{ColorType as JpegColor, Encoder as JpegEncoder};
use png::{BitDepth, ColorType as PngColor, Compression, Encoder as PngEncoder, Filter};

use crate::bitmap::{Bitmap, Layout};
use crate::request::Dimensions;
use crate::{Format, Thumbnail, ThumbnailError};

/// With 4:2:0 chroma: where artefacts of a thumbnail begin to be hard to see; more costs bytes on every
/// timeline. (libjpeg's scale; Synapse has 80 too.)
const JPEG_QUALITY: u8 = 80;

/// Encodes an upright sRGB bitmap that came from a picture of format `source`.
pub(crate) fn encode(bitmap: &Bitmap, source: Format) -> Result<Thumbnail, ThumbnailError> {
    let lossless = matches!(source, Format::Png | Format::Apng | Format::Gif);
    let (format, bytes) =
        if lossless || bitmap.layout.has_alpha() { (Format::Png, png(bitmap)?) } else { (Format::Jpeg, jpeg(bitmap)?) };
    Ok(Thumbnail::Encoded { bytes, format, dimensions: Dimensions::at_least_one(bitmap.width, bitmap.height) })
}

fn jpeg(bitmap: &Bitmap) -> Result<Vec<u8>, ThumbnailError> {
    let color = match bitmap.layout {
        Layout::Gray => JpegColor::Luma,
        Layout::Rgb => JpegColor::Rgb,
        Layout::GrayAlpha | Layout::Rgba | Layout::Cmyk => return Err(not_encodable()),
    };
    let side = |length| u16::try_from(length).map_err(|_| not_encodable());
    let (width, height) = (side(bitmap.width)?, side(bitmap.height)?);
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new(&mut bytes, JPEG_QUALITY);
    encoder.set_optimized_huffman_tables(true);
    encoder.encode(&bitmap.samples, width, height, color).map_err(ThumbnailError::malformed)?;
    Ok(bytes)
}

fn png(bitmap: &Bitmap) -> Result<Vec<u8>, ThumbnailError> {
    let color = match bitmap.layout {
        Layout::Gray => PngColor::Grayscale,
        Layout::GrayAlpha => PngColor::GrayscaleAlpha,
        Layout::Rgb => PngColor::Rgb,
        Layout::Rgba => PngColor::Rgba,
        Layout::Cmyk => return Err(not_encodable()),
    };
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes, bitmap.width, bitmap.height);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    // Photographs get no smaller at the slower levels, which take as long as all the rest; drawings would
    // by about a sixth.
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Adaptive);
    let mut writer = encoder.write_header().map_err(ThumbnailError::malformed)?;
    writer.write_image_data(&bitmap.samples).map_err(ThumbnailError::malformed)?;
    writer.finish().map_err(ThumbnailError::malformed)?;
    Ok(bytes)
}

fn not_encodable() -> ThumbnailError {
    ThumbnailError::Unsupported { what: "a picture of this size and kind" }
}

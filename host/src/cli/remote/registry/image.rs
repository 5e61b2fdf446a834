//! The manifest of a module in a registry: the layout of the CNCF's Wasm artifacts, or any other image with one layer of
//! WebAssembly, as `oras push` makes it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::json;
use crate::model::names::Digest;
use crate::model::signature::ENVELOPE_BYTES_MAX;
use crate::model::text::{cut, one_line};

/// Largest manifest: registries take four times as much, and ours has one layer.
pub const IMAGE_BYTES_MAX: u64 = 1 << 20;
/// The type of an image's manifest.
pub const IMAGE_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The types of a layer with a module: that of the CNCF's layout, and an older one.
const MODULE_TYPES: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];
/// The annotation that has the module's signature.
const SIGNATURE: &str = "io.github.sandbar-rs.signature";
const TEXT_BYTES_MAX: usize = 200;

/// The parts of a manifest that a pull needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    pub module: Digest,
    pub module_bytes: u64,
    pub signature: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct RawImage {
    #[serde(rename = "schemaVersion")]
    version: u64,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

// === impl Image ===

impl Image {
    /// Reads a manifest; an error is the reason why it is none of a module.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let raw: RawImage =
            json::read(text).map_err(|error| format!("its manifest cannot be read: {}", shown(&error.to_string())))?;
        let media_type = raw.media_type.as_deref().unwrap_or(IMAGE_TYPE);
        if raw.version != 2 || media_type != IMAGE_TYPE {
            return Err(format!("its manifest is of type {}: name the image of a module, not an index", shown(media_type)));
        }
        let [layer] = raw.layers.as_slice() else {
            return Err(format!("it has {} layers, and a module is one", raw.layers.len()));
        };
        if !MODULE_TYPES.contains(&layer.media_type.as_str()) {
            return Err(format!("its layer is of type {}, and a module is {}", shown(&layer.media_type), MODULE_TYPES[0]));
        }
        let module = layer.digest.parse().map_err(|error| format!("its layer has no digest that is known: {error}"))?;
        let signature = raw.annotations.get(SIGNATURE).or_else(|| layer.annotations.get(SIGNATURE));
        let signature = signature.map(|text| text.clone().into_bytes());
        if signature.as_ref().is_some_and(|text| text.len() > ENVELOPE_BYTES_MAX) {
            return Err(format!("its signature has more than {ENVELOPE_BYTES_MAX} bytes"));
        }
        Ok(Self { module, module_bytes: layer.size, signature })
    }
}

fn shown(foreign: &str) -> String {
    one_line(cut(foreign, TEXT_BYTES_MAX)).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn layer(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"m").to_string(), "size": 1})
    }

    fn image(layers: &[Value]) -> Value {
        json!({"schemaVersion": 2, "mediaType": IMAGE_TYPE, "layers": layers,
            "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": "sha256:0", "size": 2}})
    }

    #[test]
    fn modules_of_both_layouts_are_read() {
        let expected = Image { module: Digest::of(b"m"), module_bytes: 1, signature: None };
        let wasm = image(&[layer("application/wasm")]);
        let mut oras = image(&[layer("application/vnd.wasm.content.layer.v1+wasm")]);
        oras["artifactType"] = json!("application/vnd.example");
        let mut untyped = wasm.clone();
        untyped.as_object_mut().expect("an object").remove("mediaType");
        for manifest in [&wasm, &oras, &untyped] {
            assert_eq!(Image::read(manifest.to_string().as_bytes()), Ok(Image { signature: None, ..expected }));
        }
        let mut signed = wasm;
        signed["annotations"] = json!({"io.github.sandbar-rs.signature": "{}"});
        let read = Image::read(signed.to_string().as_bytes()).expect("an image");
        assert_eq!(read.signature.as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn other_manifests_are_refused() {
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []});
        let mut foreign = layer("application/wasm");
        foreign["digest"] = json!("sha512:00");
        let mut large = image(&[layer("application/wasm")]);
        large["annotations"] = json!({"io.github.sandbar-rs.signature": "x".repeat(ENVELOPE_BYTES_MAX + 1)});
        for (manifest, part) in [
            (index, "not an index"),
            (image(&[]), "0 layers"),
            (image(&[layer("application/wasm"), layer("application/wasm")]), "2 layers"),
            (image(&[layer("application/vnd.oci.image.layer.v1.tar+gzip")]), "its layer is of type"),
            (image(&[foreign]), "no digest that is known"),
            (image(&[json!({"mediaType": "application/wasm", "digest": "x", "size": -1})]), "cannot be read"),
            (large, "its signature has more"),
            (json!([]), "cannot be read"),
        ] {
            let refused = Image::read(manifest.to_string().as_bytes()).expect_err(part);
            assert!(refused.contains(part), "{part:?} is not in {refused:?}");
        }
    }
}

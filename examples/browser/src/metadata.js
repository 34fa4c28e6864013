/** What an exported model says of itself: the entry `aaren` of the metadata of an ONNX file. */

import { PbfReader } from "pbf";

const METADATA = 14; // ModelProto.metadata_props of onnx.proto: repeated { string key = 1; string value = 2; }

/**
 * @param {Uint8Array} content of the file
 * @returns {object | null} null if it is no model that aaren exported
 */
export function readMetadata(content) {
  const entries = new PbfReader(content).readFields((tag, found, pbf) => {
    if (tag !== METADATA) return;
    const entry = pbf.readMessage((field, pair, message) => {
      if (field === 1) pair.key = message.readString();
      if (field === 2) pair.value = message.readString();
    }, {});
    found[entry.key] = entry.value;
  }, {});
  return entries.aaren ? JSON.parse(entries.aaren) : null;
}

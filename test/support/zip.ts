import { crc32, deflateRawSync } from "node:zlib";

export interface Packed {
  name: string;
  content: string | Uint8Array;
  /** Instead of the true ones, for files that are damaged on purpose. */
  crc?: number;
  size?: number;
  flags?: number;
}

/** A zip archive (APPNOTE 6.3), deflated. */
export function zip(members: readonly Packed[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, crc, size, flags = 0x0800 } of members) {
    const bytes = Buffer.from(content as string);
    const packed = deflateRawSync(bytes);
    const path = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc ?? crc32(bytes), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(size ?? bytes.length, 18);
    common.writeUInt16LE(path.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common, path, packed]);
    const end = Buffer.alloc(14);
    end.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02\x14\x00", "latin1"), common, end, path]));
    parts.push(local);
    offset += local.length;
  }
  const entries = Buffer.concat(directory);
  const trailer = Buffer.alloc(22);
  trailer.write("PK\x05\x06", 0, "latin1");
  trailer.writeUInt16LE(members.length, 8);
  trailer.writeUInt16LE(members.length, 10);
  trailer.writeUInt32LE(entries.length, 12);
  trailer.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, entries, trailer]);
}

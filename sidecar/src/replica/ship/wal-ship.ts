import type { SequenceRange } from "../../formats/entry.js";
import type { Buffers } from "../../base/buffers.js";
import type { Cut } from "./cut.js";
import type { ShippedDatabase } from "./database.js";
import type { Emitter } from "./emitter.js";
import { Packer } from "./packer.js";
import type { Piece, WalFile } from "./wal-file.js";

export interface WalShipParts {
  readonly emitter: Emitter;
  readonly buffers: Buffers;
  readonly bodyBytesMax: number;
  readonly onShipped: (database: string, bytes: number) => void;
}

/**
 * Ships all whole records of a cut, database by database in the order in which the master writes them, WAL by WAL in the order of their
 * numbers: every prefix of these entries is an image that the master could have left. Stops where `held` says so. False if it did.
 */
export async function shipWal(
  databases: readonly ShippedDatabase[],
  cut: Cut,
  parts: WalShipParts,
  held: () => boolean,
): Promise<boolean> {
  const packer = new Packer(parts.emitter, { kind: "wal", group: false, bodyBytesMax: parts.bodyBytesMax });
  try {
    for (const [index, database] of databases.entries()) {
      for (const { number } of cut.databases[index]?.wals ?? []) {
        const file = database.wals.get(number);
        // It was let go since the cut: a hold says why.
        if (file === undefined) continue;
        for (let piece = file.piece; piece !== undefined; piece = file.piece) {
          if (held()) return false;
          await addPiece({ database: database.name, file, piece }, packer, parts);
        }
        // What comes after damage, also in later databases, must not be there without what is damaged.
        if (file.problem !== undefined) return true;
      }
    }
    return true;
  } finally {
    // What was added is in order and whole, whatever stopped us.
    await packer.close();
  }
}

interface PieceOf {
  readonly database: string;
  readonly file: WalFile;
  readonly piece: Piece;
}

/** Adds one piece; a record larger than an entry becomes a group of its own, unless it is part of one already. */
export async function addPiece(of: PieceOf, packer: Packer, parts: WalShipParts): Promise<void> {
  const { file, piece, database } = of;
  const bytesMax = Packer.bytesMax(parts.bodyBytesMax);
  const large = piece.end - piece.start > bytesMax;
  if (large && !packer.isGroup) {
    await packer.close();
    await parts.emitter.group(async () => {
      const group = new Packer(parts.emitter, { kind: "wal", group: true, bodyBytesMax: parts.bodyBytesMax });
      await addChunks(of, group, parts);
      await group.close();
    });
  } else await addChunks(of, packer, parts);
  file.took();
  parts.onShipped(database, piece.end - piece.start);
}

async function addChunks({ database, file, piece }: PieceOf, packer: Packer, parts: WalShipParts): Promise<void> {
  const bytesMax = Packer.bytesMax(parts.bodyBytesMax);
  for (let offset = piece.start; offset < piece.end;) {
    const length = Math.min(bytesMax, piece.end - offset);
    const { bytes, give } = parts.buffers.take(length);
    await packer.guard(() => file.readAt(bytes, offset));
    await packer.add(
      { type: "append", file: file.file, offset, bytes },
      { sequences: offset === piece.start ? rangeOf(database, piece) : undefined, release: give },
    );
    offset += length;
  }
}

function rangeOf(database: string, { first, last }: Piece): SequenceRange | undefined {
  if (first === undefined || last === undefined) return undefined;
  return { database, first: String(first), last: String(last) };
}

/** Randomness, passed in everywhere so that one seed drives a whole simulation. */
export interface Random {
  /** Uniform in [0, 1). */
  float(): number;
  bytes(count: number): Uint8Array;
}

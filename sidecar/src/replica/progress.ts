/** Long transfers report here; the surface draws bars from it or writes lines. */
export interface Progress {
  /** `totalBytes` may grow. */
  report(phase: string, doneBytes: number, totalBytes: number): void;
}

/**
 * How every program from Go sources is built: alike, so that what they share is compiled once. Without DWARF a build is a fifth smaller and faster. Versions of their own are written
 * into them by the linker.
 */
export const GO_FLAGS = ["-buildvcs=false", "-trimpath", "-gcflags=all=-dwarf=false"] as const;
export const GO_ENV = { CGO_ENABLED: "0", GOFLAGS: "" } as const;

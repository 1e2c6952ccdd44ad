// Command line of the test master: --name or --name=value.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

struct Flags {
  std::vector<std::string> positional;
  std::map<std::string, std::string> named;

  static Flags Parse(int argc, char** argv, const std::set<std::string>& known) {
    Flags flags;
    for (int i = 1; i < argc; i++) {
      std::string arg = argv[i];
      if (arg.rfind("--", 0) != 0) {
        flags.positional.push_back(arg);
        continue;
      }
      const size_t equals = arg.find('=');
      const std::string name = arg.substr(2, equals == std::string::npos ? std::string::npos : equals - 2);
      if (known.count(name) == 0) {
        fprintf(stderr, "unknown flag --%s\n", name.c_str());
        exit(64);
      }
      flags.named[name] = equals == std::string::npos ? "1" : arg.substr(equals + 1);
    }
    return flags;
  }

  bool Has(const std::string& name) const { return named.count(name) > 0; }

  std::string Text(const std::string& name, const std::string& fallback = "") const {
    auto it = named.find(name);
    return it == named.end() ? fallback : it->second;
  }

  uint64_t Number(const std::string& name, uint64_t fallback) const {
    auto it = named.find(name);
    return it == named.end() ? fallback : strtoull(it->second.c_str(), nullptr, 10);
  }
};

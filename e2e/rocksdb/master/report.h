// What a verification found, as one line of JSON.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

struct Report {
  unsigned long long rows = 0;
  unsigned long long sequence = 0;
  std::vector<std::string> problems;

  void Problem(const std::string& text) {
    if (problems.size() < 20) problems.push_back(text);
  }

  static std::string Quoted(const std::string& text) {
    std::string out = "\"";
    for (unsigned char c : text) {
      if (c == '"' || c == '\\') out.push_back('\\');
      if (c >= 0x20 && c < 0x7f) out.push_back(static_cast<char>(c));
      else out.push_back('?');
    }
    return out + "\"";
  }

  // The exit code.
  int Print(const std::string& extra = "") const {
    printf("{\"rows\":%llu,\"sequence\":%llu%s,\"problems\":[", rows, sequence, extra.c_str());
    for (size_t i = 0; i < problems.size(); i++) printf("%s%s", i == 0 ? "" : ",", Quoted(problems[i]).c_str());
    printf("]}\n");
    return problems.empty() ? 0 : 1;
  }
};

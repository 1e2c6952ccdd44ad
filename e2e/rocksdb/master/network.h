// A barrier client and a health endpoint: raw HTTP/1.1 on the loopback, as small as a master's own could be.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>

// POSTs to http://127.0.0.1:PORT/PATH and keeps the connection. One attempt more after a broken connection; false if it was refused.
class Barrier {
 public:
  explicit Barrier(const std::string& url) {
    const std::string prefix = "http://127.0.0.1:";
    if (url.rfind(prefix, 0) != 0) {
      fprintf(stderr, "the barrier's URL must begin with %s\n", prefix.c_str());
      exit(64);
    }
    const size_t slash = url.find('/', prefix.size());
    port_ = atoi(url.substr(prefix.size()).c_str());
    path_ = slash == std::string::npos ? "/v1/barrier" : url.substr(slash);
  }
  ~Barrier() { Close(); }

  bool Wait(std::string* answer) {
    for (int attempt = 0; attempt < 2; attempt++) {
      if (fd_ < 0 && !Connect()) continue;
      if (Send() && Receive(answer)) return status_ >= 200 && status_ < 300;
      Close();
    }
    *answer = "no connection";
    return false;
  }

 private:
  bool Connect() {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int one = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return true;
    Close();
    return false;
  }

  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  bool Send() {
    const std::string request = "POST " + path_ + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port_) +
                                "\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n";
    return send(fd_, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size());
  }

  bool Receive(std::string* body) {
    std::string response;
    size_t head = std::string::npos;
    char buffer[4096];
    while ((head = response.find("\r\n\r\n")) == std::string::npos) {
      const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
      if (got <= 0 || response.size() > 65536) return false;
      response.append(buffer, got);
    }
    status_ = response.size() > 12 ? atoi(response.c_str() + 9) : 0;
    size_t length = 0;
    bool chunked = false;
    for (size_t line = 0; line < head; line = response.find("\r\n", line) + 2) {
      if (strncasecmp(response.c_str() + line, "content-length:", 15) == 0) length = atoll(response.c_str() + line + 15);
      if (strncasecmp(response.c_str() + line, "transfer-encoding: chunked", 26) == 0) chunked = true;
    }
    const auto complete = [&] {
      return chunked ? response.find("\r\n0\r\n\r\n", head) != std::string::npos || response.find("0\r\n\r\n", head) == head + 4
                     : response.size() >= head + 4 + length;
    };
    while (!complete()) {
      const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
      if (got <= 0 || response.size() > (1 << 20)) return false;
      response.append(buffer, got);
    }
    *body = std::to_string(status_) + " " + response.substr(head + 4);
    return true;
  }

  int port_ = 0;
  int fd_ = -1;
  int status_ = 0;
  std::string path_;
};

// Answers every connection "200 <rows>" until the process ends.
inline void ServeHealth(int port, const std::atomic<uint64_t>* rows) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 || listen(listener, 16) != 0) {
    fprintf(stderr, "port %d can't be listened on: %s\n", port, strerror(errno));
    exit(69);
  }
  std::thread([listener, rows] {
    for (;;) {
      const int fd = accept(listener, nullptr, nullptr);
      if (fd < 0) continue;
      timeval limit{2, 0};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
      char buffer[2048];
      if (recv(fd, buffer, sizeof(buffer), 0) > 0) {
        const std::string body = std::to_string(rows->load()) + "\n";
        const std::string answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " +
                                   std::to_string(body.size()) + "\r\n\r\n" + body;
        (void)!send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
      }
      close(fd);
    }
  }).detach();
}

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lychee::io {

// One transfer over HTTP or HTTPS. Proxies come from the environment (http_proxy, https_proxy,
// all_proxy, no_proxy), extra certificates from CURL_CA_BUNDLE or SSL_CERT_FILE.
struct HttpRequest {
  std::string url;
  std::string bearer_token;    // empty: none. Sent to the host of `url` alone, never after a
                               // redirect to another
  int64_t resume_from = 0;     // asks for the bytes from here on
  bool head = false;           // headers alone
  std::string stop_at_header;  // lower case: a redirect that carries it is not followed
  int connect_timeout_s = 10;
  int stall_timeout_s = 30;  // gives up below 1 KB/s for so long
};

struct HttpResponse {
  int status = 0;                              // 0: no response, see `failure`
  std::map<std::string, std::string> headers;  // names in lower case
  std::string url;                             // after redirects
  std::string failure;                         // of the transport; empty: none
  std::string error_body;                      // first KBs of a response outside 200..299

  [[nodiscard]] bool ok() const { return failure.empty() && status >= 200 && status < 300; }
  [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
};

// `start` sees status and headers of a response in 200..299 before its first byte goes to `body`.
// What either throws ends the transfer and travels on. Network trouble is no exception: see
// HttpResponse::failure.
HttpResponse http_transfer(const HttpRequest& request,
                           const std::function<void(const HttpResponse&)>& start,
                           const std::function<void(std::span<const std::byte>)>& body);

// Percent-encodes one path component.
[[nodiscard]] std::string url_escape(std::string_view component);

}  // namespace lychee::io

#include "io/fetch/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>

#include "base/check.h"
#include "lychee/version.h"

namespace lychee::io {
namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxErrorBody = 8192;

struct FreeEasy {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct FreeText {
  void operator()(char* text) const { curl_free(text); }
};
using UrlHandle = std::unique_ptr<CURLU, FreeUrl>;

struct Transfer {
  const std::function<void(const HttpResponse&)>& start;
  const std::function<void(std::span<const std::byte>)>& body;
  HttpResponse response;
  bool started = false;
  std::exception_ptr thrown;

  void begin() {
    if (!started && response.status >= 200 && response.status < 300) {
      started = true;
      start(response);
    }
  }
};

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : static_cast<char>(c);
  });
  return result;
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

size_t on_header(char* data, size_t /*one*/, size_t length, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, length);
  if (line.starts_with("HTTP/")) {
    transfer.response.headers.clear();
    const size_t space = line.find(' ');
    transfer.response.status =
        space == std::string_view::npos ? 0 : std::atoi(std::string(line.substr(space)).c_str());
  } else if (const size_t colon = line.find(':'); colon != std::string_view::npos) {
    transfer.response.headers[lower(trim(line.substr(0, colon)))] = trim(line.substr(colon + 1));
  }
  return length;
}

// No exception may pass through libcurl, which is C.
size_t on_body(char* data, size_t /*one*/, size_t length, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    transfer.begin();
    if (transfer.started) {
      transfer.body(std::as_bytes(std::span(data, length)));
    } else if (transfer.response.error_body.size() < kMaxErrorBody) {
      transfer.response.error_body.append(data, length);
    }
    return length;
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;
  }
}

std::string url_part(const UrlHandle& url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) !=
      CURLUE_OK) {
    return "";
  }
  const std::unique_ptr<char, FreeText> owned(text);
  return text;
}

UrlHandle parse_url(const std::string& url) {
  UrlHandle handle(curl_url());
  require(
      handle != nullptr && curl_url_set(handle.get(), CURLUPART_URL, url.c_str(), 0) == CURLUE_OK,
      ErrorCode::kInvalidArgument, "'", url, "' is not a URL");
  return handle;
}

bool same_host(const UrlHandle& a, const UrlHandle& b) {
  return std::ranges::all_of(
      std::initializer_list<CURLUPart>{CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT},
      [&](CURLUPart part) { return lower(url_part(a, part)) == lower(url_part(b, part)); });
}

void set_options(CURL* curl, const HttpRequest& request, Transfer& transfer, char* error) {
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, (std::string("lycheedecode/") + kVersion).c_str());
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request.connect_timeout_s));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1024L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall_timeout_s));
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  if (request.resume_from > 0) {
    curl_easy_setopt(curl, CURLOPT_RANGE, (std::to_string(request.resume_from) + "-").c_str());
  }
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const char* bundle = std::getenv(name); bundle != nullptr && *bundle != '\0') {
      curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
      break;
    }
  }
}

void perform_once(const HttpRequest& request, Transfer& transfer) {
  const std::unique_ptr<CURL, FreeEasy> curl(curl_easy_init());
  require(curl != nullptr, ErrorCode::kInternal, "libcurl does not start");
  char error[CURL_ERROR_SIZE] = "";
  set_options(curl.get(), request, transfer, error);
  std::unique_ptr<curl_slist, FreeList> headers;
  if (!request.bearer_token.empty()) {
    const std::string line = "Authorization: Bearer " + request.bearer_token;
    headers.reset(curl_slist_append(nullptr, line.c_str()));
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  }
  const CURLcode code = curl_easy_perform(curl.get());
  if (transfer.thrown) {
    std::rethrow_exception(transfer.thrown);
  }
  if (code != CURLE_OK) {
    transfer.response.failure = *error == '\0' ? curl_easy_strerror(code) : error;
  }
}

// The address a redirect leads to; empty when the response is none, or is the answer itself.
std::string redirect_target(const HttpRequest& request, const HttpResponse& response) {
  const auto location = response.header("location");
  const bool redirects = response.failure.empty() && response.status >= 300 &&
                         response.status < 400 && location.has_value();
  const bool wanted = !request.stop_at_header.empty() && response.header(request.stop_at_header);
  return redirects && !wanted ? *location : std::string();
}

}  // namespace

std::optional<std::string> HttpResponse::header(std::string_view name) const {
  const auto found = headers.find(std::string(name));
  return found == headers.end() ? std::nullopt : std::optional(found->second);
}

HttpResponse http_transfer(const HttpRequest& request,
                           const std::function<void(const HttpResponse&)>& start,
                           const std::function<void(std::span<const std::byte>)>& body) {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  require(initialized == CURLE_OK, ErrorCode::kInternal, "libcurl does not start");
  HttpRequest hop = request;
  UrlHandle url = parse_url(hop.url);
  for (int redirects = 0;; ++redirects) {
    Transfer transfer{start, body, {}, false, nullptr};
    perform_once(hop, transfer);
    HttpResponse& response = transfer.response;
    response.url = hop.url;
    const std::string target = redirect_target(hop, response);
    if (target.empty()) {
      if (response.failure.empty()) {
        transfer.begin();
      }
      return std::move(response);
    }
    UrlHandle next(curl_url_dup(url.get()));
    if (redirects == kMaxRedirects ||
        curl_url_set(next.get(), CURLUPART_URL, target.c_str(), 0) != CURLUE_OK) {
      response.failure = "redirected too often, or to no URL: " + target;
      return std::move(response);
    }
    if (url_part(url, CURLUPART_SCHEME) == "https" && url_part(next, CURLUPART_SCHEME) != "https") {
      response.failure = "redirected from https to " + url_part(next, CURLUPART_SCHEME);
      return std::move(response);
    }
    // The token stays dropped even if a later hop leads back.
    if (!same_host(url, next)) {
      hop.bearer_token.clear();
    }
    url = std::move(next);
    hop.url = url_part(url, CURLUPART_URL);
  }
}

std::string url_escape(std::string_view component) {
  const std::unique_ptr<char, FreeText> escaped(
      curl_easy_escape(nullptr, component.data(), static_cast<int>(component.size())));
  require(escaped != nullptr, ErrorCode::kInternal, "cannot encode a URL");
  return escaped.get();
}

}  // namespace lychee::io

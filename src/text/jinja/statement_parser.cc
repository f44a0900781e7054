#include <algorithm>
#include <array>

#include "base/check.h"
#include "text/jinja/expr_factory.h"
#include "text/jinja/expression_parser.h"
#include "text/jinja/limits.h"
#include "text/jinja/parser.h"

namespace lychee::text::jinja {
namespace {

class StatementParser {
 public:
  explicit StatementParser(std::vector<Token> tokens)
      : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Body parse_template() { return parse_body({}); }

 private:
  using Names = std::initializer_list<std::string_view>;

  // Statements up to a block that begins with one of `ends`, of which {% and the name are passed.
  // None: up to the end of the template.
  Body parse_body(Names ends) {
    require(nesting_ < kMaxSyntaxDepth, ErrorCode::kUnsupported, "chat template: line ",
            tokens_.line(), " is nested deeper than ", kMaxSyntaxDepth, " levels");
    ++nesting_;
    const int first_line = tokens_.line();
    Body body;
    while (!tokens_.is(TokenKind::kEnd)) {
      const Token& token = tokens_.take();
      if (token.kind == TokenKind::kText) {
        body.push_back(make_node(NodeKind::kText, token.line));
        body.back().text = token.text;
      } else if (token.kind == TokenKind::kOutputBegin) {
        body.push_back(make_node(NodeKind::kOutput, token.line));
        body.back().value = expressions_.parse_tuple(true);
        tokens_.expect(TokenKind::kOutputEnd, "'}}'");
      } else {
        if (std::any_of(ends.begin(), ends.end(),
                        [this](std::string_view name) { return tokens_.is_name(name); })) {
          end_name_ = tokens_.take().text;
          --nesting_;
          return body;
        }
        parse_statement(body);
      }
    }
    require(ends.size() == 0, ErrorCode::kInvalidArgument, "chat template: the block of line ",
            first_line, " lacks its {% ", ends.size() == 0 ? "" : *(ends.end() - 1), " %}");
    --nesting_;
    return body;
  }

  void parse_statement(Body& body) {
    using Parse = void (StatementParser::*)(Node&);
    static constexpr std::array<std::pair<std::string_view, Parse>, 9> kStatements = {{
        {"if", &StatementParser::parse_if},
        {"for", &StatementParser::parse_for},
        {"set", &StatementParser::parse_set},
        {"macro", &StatementParser::parse_macro},
        {"call", &StatementParser::parse_call},
        {"filter", &StatementParser::parse_filter},
        {"with", &StatementParser::parse_with},
        {"break", &StatementParser::parse_break},
        {"continue", &StatementParser::parse_continue},
    }};
    const Token& name = tokens_.expect(TokenKind::kName, "a statement");
    if (name.text == "generation") {
      parse_generation(body);
      return;
    }
    for (const auto& [known, parse] : kStatements) {
      if (known == name.text) {
        Node node = make_node(NodeKind::kText, name.line);
        (this->*parse)(node);
        body.push_back(std::move(node));
        return;
      }
    }
    const bool ends_block =
        name.text.starts_with("end") || name.text == "else" || name.text == "elif";
    fail(ends_block ? ErrorCode::kInvalidArgument : ErrorCode::kUnsupported, "chat template: {% ",
         name.text, " %} of line ", name.line,
         ends_block ? " closes nothing" : " is not supported");
  }

  // {% generation %} marks what training reads; it renders as it stands.
  void parse_generation(Body& body) {
    end_tag();
    Body inside = parse_body({"endgeneration"});
    end_tag();
    std::move(inside.begin(), inside.end(), std::back_inserter(body));
  }

  void parse_if(Node& node) {
    node.kind = NodeKind::kIf;
    node.value = expressions_.parse_tuple(false);
    end_tag();
    node.body = parse_body({"elif", "else", "endif"});
    if (end_name_ == "elif") {
      require(nesting_ < kMaxSyntaxDepth, ErrorCode::kUnsupported, "chat template: line ",
              tokens_.line(), " has more than ", kMaxSyntaxDepth, " branches of one {% if %}");
      ++nesting_;
      node.otherwise.push_back(make_node(NodeKind::kIf, tokens_.line()));
      parse_if(node.otherwise.back());
      --nesting_;
      return;
    }
    if (end_name_ == "else") {
      end_tag();
      node.otherwise = parse_body({"endif"});
    }
    end_tag();
  }

  void parse_for(Node& node) {
    node.kind = NodeKind::kFor;
    node.target = expressions_.parse_target(false);
    tokens_.expect_name("in");
    node.value = expressions_.parse_tuple(false);
    if (tokens_.take_name("if")) {
      node.condition = expressions_.parse_expression();
    }
    require(!tokens_.is_name("recursive"), ErrorCode::kUnsupported,
            "chat template: the recursive loop of line ", node.line, " is not supported");
    end_tag();
    ++loops_;
    node.body = parse_body({"else", "endfor"});
    --loops_;
    if (end_name_ == "else") {
      end_tag();
      node.otherwise = parse_body({"endfor"});
    }
    end_tag();
  }

  void parse_set(Node& node) {
    node.target = expressions_.parse_target(true);
    if (tokens_.take_operator("=")) {
      node.kind = NodeKind::kSet;
      node.value = expressions_.parse_tuple(true);
      end_tag();
      return;
    }
    node.kind = NodeKind::kSetBlock;
    if (tokens_.take_operator("|")) {
      node.value = expressions_.parse_filters(nullptr);
    }
    parse_block(node, "endset");
  }

  void parse_macro(Node& node) {
    node.kind = NodeKind::kMacro;
    node.text = tokens_.expect(TokenKind::kName, "the name of a macro").text;
    parse_parameters(node);
    parse_function_body(node, "endmacro");
  }

  void parse_call(Node& node) {
    node.kind = NodeKind::kCall;
    node.text = "caller";
    if (tokens_.is_operator("(")) {
      parse_parameters(node);
    }
    node.value = expressions_.parse_expression();
    require(node.value->kind == ExprKind::kCall, ErrorCode::kInvalidArgument,
            "chat template: {% call %} of line ", node.line, " calls nothing");
    parse_function_body(node, "endcall");
  }

  void parse_filter(Node& node) {
    node.kind = NodeKind::kFilter;
    node.value = expressions_.parse_filters(nullptr);
    parse_block(node, "endfilter");
  }

  void parse_with(Node& node) {
    node.kind = NodeKind::kWith;
    while (!tokens_.is(TokenKind::kBlockEnd)) {
      Parameter parameter;
      parameter.name = tokens_.expect(TokenKind::kName, "a name").text;
      tokens_.expect_operator("=");
      parameter.initial = expressions_.parse_expression();
      node.parameters.push_back(std::move(parameter));
      if (!tokens_.is(TokenKind::kBlockEnd)) {
        tokens_.expect_operator(",");
      }
    }
    parse_block(node, "endwith");
  }

  void parse_break(Node& node) { parse_jump(node, NodeKind::kBreak, "break"); }
  void parse_continue(Node& node) { parse_jump(node, NodeKind::kContinue, "continue"); }

  void parse_jump(Node& node, NodeKind kind, std::string_view name) {
    require(loops_ > 0, ErrorCode::kInvalidArgument, "chat template: {% ", name, " %} of line ",
            node.line, " is in no loop");
    node.kind = kind;
    end_tag();
  }

  void parse_parameters(Node& node) {
    tokens_.expect_operator("(");
    while (!tokens_.take_operator(")")) {
      Parameter parameter;
      parameter.name = tokens_.expect(TokenKind::kName, "the name of a parameter").text;
      if (tokens_.take_operator("=")) {
        parameter.initial = expressions_.parse_expression();
      }
      node.parameters.push_back(std::move(parameter));
      if (!tokens_.is_operator(")")) {
        tokens_.expect_operator(",");
      }
    }
  }

  // A body that is called: {% break %} in it does not reach the loop around its definition.
  void parse_function_body(Node& node, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    parse_block(node, end);
    loops_ = loops;
  }

  void parse_block(Node& node, std::string_view end) {
    end_tag();
    node.body = parse_body({end});
    // {% endmacro name %} is allowed.
    if (node.kind == NodeKind::kMacro && tokens_.is_name(node.text)) {
      tokens_.take();
    }
    end_tag();
  }

  void end_tag() { tokens_.expect(TokenKind::kBlockEnd, "'%}'"); }

  static Node make_node(NodeKind kind, int line) {
    Node node;
    node.kind = kind;
    node.line = line;
    return node;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  std::string end_name_;  // what ended the last body
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

Body parse(std::string_view source) {
  return StatementParser(tokenize(source)).parse_template();
}

}  // namespace lychee::text::jinja

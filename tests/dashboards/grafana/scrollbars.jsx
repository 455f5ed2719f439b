// Stands in for react-custom-scrollbars-2: a picture needs no scroll bars.
import React from "react";

export default class Scrollbars extends React.Component {
  render() {
    return <div style={{ height: "100%", overflow: "hidden" }}>{this.props.children}</div>;
  }
}

import "./base";
import "./components/tim-app";

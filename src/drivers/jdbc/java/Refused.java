/** Something that trying again does not cure; `kind` is a word that the other side knows (failure.ts). */
final class Refused extends Exception {
  private static final long serialVersionUID = 1;
  final String kind;

  Refused(String kind, String message) {
    super(message);
    this.kind = kind;
  }
}

import J2Ci.jDVInterface;
import java.awt.Dimension;
import java.awt.Graphics2D;
import java.awt.geom.AffineTransform;
import java.awt.image.BufferedImage;
import java.io.File;
import java.io.OutputStream;
import java.io.PrintStream;
import javax.imageio.ImageIO;
import viewer.presentation.PresentationStateGraphicLayer;
import viewer.presentation.PresentationStateGraphicsHandler;

/**
 * Has DICOMscope, the viewer of OFFIS, load presentation states over their images and draw each
 * layer with its own code, at one screen pixel for each image pixel, on black.
 *
 * <p>Arguments: its configuration, then for each state: state, image, columns, rows, and where the
 * pictures go, without "-LAYER.png".
 */
final class DrawMarks {
    public static void main(String[] arguments) throws Exception {
        PrintStream out = System.out;
        // What it draws it describes at length.
        System.setOut(new PrintStream(OutputStream.nullOutputStream()));
        System.loadLibrary("jInterface");
        jDVInterface viewer = new jDVInterface(arguments[0]);
        for (int at = 1; at < arguments.length; at += 5) {
            int columns = Integer.parseInt(arguments[at + 2]);
            int rows = Integer.parseInt(arguments[at + 3]);
            int status = viewer.loadPState(arguments[at], arguments[at + 1]);
            if (status != 0) {
                throw new IllegalStateException("not loaded: status " + status);
            }
            PresentationStateGraphicsHandler shown = new PresentationStateGraphicsHandler(viewer);
            shown.setNewPresentationState(new Dimension(columns, rows));
            for (Object each : shown.getListPresentationStateGraphicLayer()) {
                PresentationStateGraphicLayer layer = (PresentationStateGraphicLayer) each;
                BufferedImage picture =
                        new BufferedImage(columns, rows, BufferedImage.TYPE_BYTE_GRAY);
                Graphics2D brush = picture.createGraphics();
                layer.draw(brush, new AffineTransform(), new AffineTransform(), 1, false);
                String name = layer.getName().replace(' ', '_');
                ImageIO.write(picture, "png", new File(arguments[at + 4] + "-" + name + ".png"));
                out.println(name);
            }
        }
        System.exit(0);
    }
}
